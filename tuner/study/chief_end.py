"""The note that a chief leaves in the bucket if it has ended for good, so that its workers end too.

The note belongs to a release, because the chiefs of several releases may have been started for the same study. The next
chief of the release deletes the note.
"""

from pydantic import ValidationError

from tuner import names
from tuner.bucket import Bucket
from tuner.config.formats import Versioned
from tuner.errors import NewerFormatError, ObjectNotFoundError
from tuner.names import ReleaseId


class ChiefEnd(Versioned):
    """Why the chief of a release has ended. Its Job does not replace it."""

    at: float
    """Time by the chief's clock, in seconds since 1970."""
    error: str


def write_chief_end(bucket: Bucket, study: str, release: ReleaseId, end: ChiefEnd) -> None:
    """Write the note. Raises BucketError."""
    bucket.write(names.chief_end(study, release), end.model_dump_json().encode())


def read_chief_end(bucket: Bucket, study: str, release: ReleaseId) -> ChiefEnd | None:
    """Return the note; None if there is none, or if it cannot be understood. Raises BucketError."""
    try:
        return ChiefEnd.model_validate_json(bucket.read(names.chief_end(study, release)))
    except (ObjectNotFoundError, ValidationError, NewerFormatError):
        return None


def delete_chief_end(bucket: Bucket, study: str, release: ReleaseId) -> None:
    """Delete the note of an earlier chief. Raises BucketError."""
    bucket.delete(names.chief_end(study, release))
