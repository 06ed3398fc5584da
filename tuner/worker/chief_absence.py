"""Finds out whether the chief of a worker's release has ended for good, so that the worker need not wait for it."""

from contextlib import suppress
from dataclasses import dataclass, field

from tuner.bucket import Bucket
from tuner.errors import BucketError, JournalError, UsageError
from tuner.names import ReleaseId
from tuner.study.chief_end import ChiefEnd, read_chief_end
from tuner.study.journal import JournalReader
from tuner.study.records import first_line
from tuner.study.status import SearchState, search_state


@dataclass
class ChiefAbsence:
    """Reads the note of a chief that has ended for good (`tuner.study.chief_end`).

    A note that already existed when the worker started does not count, because the next chief, which deletes the note,
    may still be waiting for a node or for its image. Raises BucketError if the bucket cannot be read at the start.
    """

    bucket: Bucket
    study: str
    release: ReleaseId
    _earlier: ChiefEnd | None = field(init=False)

    def __post_init__(self) -> None:
        self._earlier = self._read()

    def error(self) -> UsageError | None:
        """Return the error with which the worker must end; None if it should wait for a chief."""
        note = None
        with suppress(BucketError):
            note = self._read()
        if note is None or note == self._earlier:
            return None
        return UsageError(
            f"the chief of {self.release} has ended and is not started again, so this worker ends. The "
            f"chief's error: {note.error}"
        )

    def late_error(self) -> UsageError | None:
        """Return the error of a worker that no chief has answered for too long, although a chief may still start.

        If the search gave up, the Job of its chief may be complete, so that no chief starts until a user changes
        something. Each replacement of this worker would hold its GPU for as long. None if the search did not give up.
        """
        if error := self.error():
            return error
        reader = JournalReader(self.bucket, self.study)
        with suppress(BucketError, JournalError):
            reader.poll()
            state = reader.state
            if state.finished and search_state(state) is SearchState.GIVEN_UP:
                return UsageError(
                    f"the search of study {self.study} gave up, and no chief has continued it, so this worker ends. "
                    "Fix the cause, and run helm upgrade, which starts chief and workers again. The search gave up "
                    f"because {first_line(state.finished.reason)}"
                )
        return None

    def _read(self) -> ChiefEnd | None:
        return read_chief_end(self.bucket, self.study, self.release)
