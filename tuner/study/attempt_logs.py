"""What was logged about a trial, over all its attempts: lines in the bucket, and the journal's word on each attempt.

`tuner.worker.log_writer` writes the lines, in numbered parts, during an attempt. A part is UTF-8 text, a line being
`2026-07-01T12:00:00.123Z out text`: when, from where, what.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from enum import StrEnum

from pydantic import BaseModel, ConfigDict

from tuner import names
from tuner.bucket import Bucket
from tuner.errors import ObjectNotFoundError, UsageError
from tuner.names import TrialId
from tuner.study.journal import JournalReader, read_records
from tuner.study.records import AttemptEnded, Created, Ended, Finished, Leased, Record
from tuner.study.state import first_line

SHOWN = 20
"""Of the trials that have logs at most, in a sentence."""


class LineSource(StrEnum):
    """Where a line comes from."""

    LOG = "log"  # what the worker logs
    OUT = "out"  # what the user's code prints
    ERR = "err"


class Line(BaseModel):
    """One line; `at` in seconds since 1970, by the worker's clock."""

    model_config = ConfigDict(frozen=True)

    at: float
    source: LineSource
    text: str

    def encoded(self) -> str:
        """Return it as it stands in a part."""
        return f"{stamp(self.at)} {self.source} {self.text}"


class AttemptLog(BaseModel):
    """One attempt: the journal's word on it, and its lines so far. Times are seconds since 1970, the chief's clock."""

    model_config = ConfigDict(frozen=True)

    attempt: int
    worker: str
    began: float
    ended: float | None = None
    how: str = "running"
    """running, completed, stopped, or why it ended without a result."""
    lines: list[Line] = []

    @property
    def title(self) -> str:
        """Who and how, in a line."""
        return f"attempt {self.attempt} by {self.worker}: {self.how}"


def stamp(at: float) -> str:
    """Return a time as people and machines read it: UTC, with milliseconds."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def read_log(bucket: Bucket, study: str, trial: str) -> list[AttemptLog]:
    """Return a trial's attempts with their lines, in order, also while it runs.

    `trial` is an id, whose leading zeros may be left out. Raises UsageError where the study has no such trial.
    """
    found = Follower(bucket, study, trial)
    attempts = {attempt.attempt: attempt for attempt in found.attempts()}
    lines: dict[int, list[Line]] = {}
    for attempt, line in found.new_lines():
        lines.setdefault(attempt, []).append(line)
    return [attempts[number].model_copy(update={"lines": lines.get(number, [])}) for number in sorted(attempts)]


class Follower:
    """Reads a trial's log on and on. Raises UsageError where the study has no such trial."""

    def __init__(self, bucket: Bucket, study: str, trial: str) -> None:
        self.over = False
        """The trial has ended, as far as `attempts` has read."""
        self._bucket = bucket
        self._study = study
        self._attempts: dict[int, AttemptLog] = {}
        self._next: dict[int, int] = {}
        self._reader = JournalReader(bucket, study)
        records = list(read_records(bucket, study))
        self.trial = _find(bucket, study, trial, records)
        self._apply(records)

    def attempts(self) -> list[AttemptLog]:
        """Return what the journal says of the attempts by now, without lines."""
        self._apply(self._reader.poll())  # which may repeat some that were applied: to the same effect
        return [self._attempts[number] for number in sorted(self._attempts)]

    def _apply(self, records: list[Record]) -> None:
        for record in records:
            match record:
                case Leased() if record.trial == self.trial:
                    attempt = AttemptLog(attempt=record.attempt, worker=record.worker, began=record.at)
                    self._attempts[record.attempt], self.over = attempt, False
                case AttemptEnded() | Ended() if record.trial == self.trial and record.attempt in self._attempts:
                    ending = {"ended": record.at, "how": _how(record)}
                    self._attempts[record.attempt] = self._attempts[record.attempt].model_copy(update=ending)
                    self.over = isinstance(record, Ended)
                case Finished():
                    self.over = True
                case _:
                    continue

    def new_lines(self) -> Iterator[tuple[int, Line]]:
        """Yield attempt and line of what was written since the last call."""
        listed = self._bucket.list(names.logs_prefix(self._study, self.trial))
        parts = [part for name in listed if (part := names.parse_attempt_log(name)) is not None]
        for part in sorted(parts, key=lambda p: (p.attempt, p.part)):
            if part.part < self._next.get(part.attempt, 0):
                continue
            try:
                data = self._bucket.read(names.attempt_log(self._study, self.trial, part.attempt, part.part))
            except ObjectNotFoundError:
                continue  # removed by hand meanwhile
            self._next[part.attempt] = part.part + 1
            for text in data.decode(errors="replace").splitlines():
                yield part.attempt, parse_line(text)


def parse_line(text: str) -> Line:
    """Return the line that `encoded` wrote; one that it did not write keeps its text."""
    when, _, rest = text.partition(" ")
    source, _, said = rest.partition(" ")
    try:
        return Line(at=datetime.fromisoformat(when).timestamp(), source=LineSource(source), text=said)
    except ValueError:
        return Line(at=0.0, source=LineSource.LOG, text=text)


def trials_with_logs(bucket: Bucket, study: str) -> str:
    """Return, in a sentence, which trials of a study have logs."""
    listed = bucket.list(names.logs_prefix(study))
    found = sorted({part.trial_id for name in listed if (part := names.parse_attempt_log(name)) is not None})
    if not found:
        return f"Study {study} has no logs yet."
    more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    return f"Study {study} has logs of the trials {', '.join(found[:SHOWN])}{more}."


def _find(bucket: Bucket, study: str, trial: str, records: list[Record]) -> TrialId:
    known = [record.trial for record in records if isinstance(record, Created)]
    exact = [each for each in known if each == trial]
    same_number = [each for each in known if trial.isdecimal() and each.lstrip("0") == trial.lstrip("0")]
    for found in (exact, same_number):
        if len(found) == 1:
            return found[0]
    raise UsageError(f"there is no trial {trial!r}. {trials_with_logs(bucket, study)}")


def _how(record: AttemptEnded | Ended) -> str:
    if isinstance(record, Ended) and record.outcome is None:
        reason = f" ({first_line(record.reason)})" if record.reason else ""
        return f"{record.state.lower()}{reason}"
    return f"{str(record.outcome).replace('_', ' ')} ({first_line(record.reason)})"
