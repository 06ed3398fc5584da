"""The log of a trial: its attempts, which are in the journal, and the lines of each attempt, which are in the bucket.

`tuner.worker.log_writer` writes the lines during an attempt, in numbered parts. A part is UTF-8 text. Each line has a
time, a source and a text, for example `2026-07-01T12:00:00.123Z out text`.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from enum import StrEnum

from pydantic import BaseModel, ConfigDict

from tuner import names
from tuner.bucket import Bucket
from tuner.errors import ObjectNotFoundError, UsageError
from tuner.names import TrialId
from tuner.study.attempts import AttemptRecord, AttemptTable
from tuner.study.journal import JournalReader, read_records
from tuner.study.records import AttemptEnded, Created, Ended, Finished, Leased, Paused, Record

MOST_LISTED = 20
"""Maximum number of trials with logs that an error message lists."""


class LineSource(StrEnum):
    """Source of a line."""

    LOG = "log"  # the worker's own logging
    OUT = "out"  # standard output of the user's code
    ERR = "err"  # standard error of the user's code


class Line(BaseModel):
    """One line of a log. `at` is in seconds since 1970, by the worker's clock."""

    model_config = ConfigDict(frozen=True)

    at: float
    source: LineSource
    text: str

    def encoded(self) -> str:
        """Return the line in the format of a part."""
        return f"{stamp(self.at)} {self.source} {self.text}"


class AttemptLog(BaseModel):
    """One attempt and its lines so far. Times are seconds since 1970, by the chief's clock."""

    model_config = ConfigDict(frozen=True)

    attempt: int
    worker: str
    began: float
    ended: float | None = None
    how: str = "running"
    """How the attempt ended: completed, stopped, paused, or its outcome with the reason; running if it continues."""
    lines: list[Line] = []

    @property
    def title(self) -> str:
        """The attempt in one line: its worker and how it ended."""
        return f"attempt {self.attempt} by {self.worker}: {self.how}"


def stamp(at: float) -> str:
    """Return a time as ISO 8601 in UTC, with milliseconds."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def read_log(bucket: Bucket, study: str, trial: str) -> list[AttemptLog]:
    """Return a trial's attempts in order, with their lines so far.

    `trial` is an id, with or without its leading zeros. Raises UsageError if the study has no such trial.
    """
    follower = Follower(bucket, study, trial)
    attempts = {attempt.attempt: attempt for attempt in follower.attempts()}
    lines: dict[int, list[Line]] = {}
    for attempt, line in follower.new_lines():
        lines.setdefault(attempt, []).append(line)
    return [attempts[number].model_copy(update={"lines": lines.get(number, [])}) for number in sorted(attempts)]


class Follower:
    """Reads a trial's log while it grows. Raises UsageError if the study has no such trial."""

    def __init__(self, bucket: Bucket, study: str, trial: str) -> None:
        self.finished = False
        """Whether the trial or the search has ended, according to the records that have been read so far."""
        self._bucket = bucket
        self._study = study
        self._attempts = AttemptTable()
        self._next_parts: dict[int, int] = {}
        """Number of the next part to read, by attempt."""
        self._reader = JournalReader(bucket, study)
        records = list(read_records(bucket, study))
        self.trial = _find(bucket, study, trial, records)
        self._apply(records)

    def attempts(self) -> list[AttemptLog]:
        """Read the journal's new records, and return all attempts at the trial so far, without their lines."""
        self._apply(self._reader.poll())  # the first poll repeats records; starts and ends stay the same
        return [_log_of(attempt) for attempt in self._attempts.attempts()]

    def _apply(self, records: list[Record]) -> None:
        for record in records:
            match record:
                case Leased() | AttemptEnded() | Paused() | Ended() if record.trial == self.trial:
                    self._attempts.apply(record)
                    self.finished = isinstance(record, Ended)
                case Finished():
                    self.finished = True
                case _:
                    continue

    def new_lines(self) -> Iterator[tuple[int, Line]]:
        """Yield the number of the attempt and the line, for every line that was written since the last call."""
        listed = self._bucket.list(names.logs_prefix(self._study, self.trial))
        parts = [part for name in listed if (part := names.parse_attempt_log(name)) is not None]
        for part in sorted(parts, key=lambda p: (p.attempt, p.part)):
            if part.part < self._next_parts.get(part.attempt, 0):
                continue
            try:
                data = self._bucket.read(names.attempt_log(self._study, self.trial, part.attempt, part.part))
            except ObjectNotFoundError:
                continue  # a user has deleted this part in the meantime
            self._next_parts[part.attempt] = part.part + 1
            for text in data.decode(errors="replace").splitlines():
                yield part.attempt, parse_line(text)


def parse_line(text: str) -> Line:
    """Return the line that `Line.encoded` wrote. Any other text becomes a line with source `log` and time 0."""
    time, _, rest = text.partition(" ")
    source, _, content = rest.partition(" ")
    try:
        return Line(at=datetime.fromisoformat(time).timestamp(), source=LineSource(source), text=content)
    except ValueError:
        return Line(at=0.0, source=LineSource.LOG, text=text)


def trials_with_logs(bucket: Bucket, study: str) -> str:
    """Return a sentence that lists which trials of a study have logs."""
    listed = bucket.list(names.logs_prefix(study))
    trials = sorted({part.trial_id for name in listed if (part := names.parse_attempt_log(name)) is not None})
    if not trials:
        return f"Study {study} has no logs yet."
    more = f" and {len(trials) - MOST_LISTED} more" if len(trials) > MOST_LISTED else ""
    return f"Study {study} has logs of the trials {', '.join(trials[:MOST_LISTED])}{more}."


def _find(bucket: Bucket, study: str, trial: str, records: list[Record]) -> TrialId:
    trial_ids = [record.trial for record in records if isinstance(record, Created)]
    exact = [trial_id for trial_id in trial_ids if trial_id == trial]
    by_number = [id_ for id_ in trial_ids if trial.isdecimal() and id_.lstrip("0") == trial.lstrip("0")]
    for matches in (exact, by_number):
        if len(matches) == 1:
            return matches[0]
    raise UsageError(f"there is no trial {trial!r}. {trials_with_logs(bucket, study)}")


def _log_of(attempt: AttemptRecord) -> AttemptLog:
    how = attempt.how.replace("_", " ")
    return AttemptLog(
        attempt=attempt.attempt,
        worker=attempt.worker,
        began=attempt.started,
        ended=attempt.ended,
        how=f"{how} ({attempt.reason})" if attempt.reason else how,
    )
