"""Finds out whether the chief of a worker's release has ended for good, so that the worker need not wait for it."""

from contextlib import suppress
from dataclasses import dataclass, field

from tuner.bucket import Bucket
from tuner.errors import BucketError, UsageError
from tuner.names import ReleaseId
from tuner.study.chief_end import ChiefEnd, read_chief_end


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

    def _read(self) -> ChiefEnd | None:
        return read_chief_end(self.bucket, self.study, self.release)
