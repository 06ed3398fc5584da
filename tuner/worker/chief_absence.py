"""Finds out whether the chief of a worker's release has ended for good, so that the worker need not wait for it."""

import contextlib
from dataclasses import dataclass, field

from tuner.bucket import Bucket
from tuner.errors import BucketError, UsageError
from tuner.names import ReleaseId
from tuner.study.chief_end import ChiefEnd, read_chief_end


@dataclass
class ChiefAbsence:
    """Reads the note of a chief that has ended for good (`tuner.study.chief_end`)."""

    bucket: Bucket
    study: str
    release: ReleaseId
    _earlier: ChiefEnd | None = field(init=False)
    """The note that already existed when this worker started. A new chief, which may still be starting, deletes it."""

    def __post_init__(self) -> None:
        self._earlier = self._read()

    def error(self, has_waited: bool) -> UsageError | None:
        """Return the error with which the worker must end; None if it should wait for a chief.

        Args:
            has_waited: Whether the worker has waited as long as it may. A note that existed before the worker counts
                only then, because no new chief has deleted it.
        """
        note = self._read()
        if note is None or (note == self._earlier and not has_waited):
            return None
        return UsageError(
            f"the chief of {self.release} has ended and is not started again, so this worker ends. The "
            f"chief's error: {note.error}"
        )

    def _read(self) -> ChiefEnd | None:
        with contextlib.suppress(BucketError):
            return read_chief_end(self.bucket, self.study, self.release)
        return None
