"""The Bucket protocol: what every durable place must do, and what each method raises.

Object names are relative to the bucket's prefix: parts joined by `/`, no empty, `.` or `..` part
(`check_name`). Every method raises `BucketError` when the bucket itself fails (missing, no rights, full,
unreachable), with a sentence that names the bucket's URL and the object.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from tuner.errors import BucketError

# A folder's own place for unfinished objects; no object may lie there, in any kind of bucket.
RESERVED = ".cifake-tune-unfinished"
_MAX_NAME_BYTES = 1024  # GCS, https://cloud.google.com/storage/docs/objects#naming


class Bucket(Protocol):
    """A flat store of named, immutable-or-replaced objects.

    `url` is how a user writes the bucket: a folder's path, or `gs://bucket/prefix`.
    """

    url: str

    def read(self, name: str) -> bytes:
        """Return the object's bytes. Raises ObjectNotFoundError."""
        ...

    def write(self, name: str, data: bytes) -> None:
        """Create or replace the object, atomically: a reader sees the old bytes or the new ones."""
        ...

    def create(self, name: str, data: bytes) -> None:
        """Create the object, atomically and durably. Raises ObjectExistsError if the name is taken.

        Put something of the writer's own into `data` (a random id). Over a network the answer to a create that worked
        can be lost, and its second try then finds the name taken. `GcsBucket` settles that by reading the object:
        the same bytes mean that it was ours. Two writers of equal bytes could both be told that they created it.
        If another BucketError is raised, it is not known whether the object was created.
        """
        ...

    def upload(self, name: str, path: Path) -> None:
        """Create or replace the object from a local file, streamed, atomically."""
        ...

    def download(self, name: str, path: Path) -> None:
        """Write the object to a local file, streamed; `path` appears whole or not at all.

        Raises ObjectNotFoundError.
        """
        ...

    def exists(self, name: str) -> bool:
        """Return whether the object exists."""
        ...

    def list(self, prefix: str = "") -> Iterator[str]:
        """Yield, in lexicographic order, the names of all objects that start with `prefix`."""
        ...

    def folders(self, prefix: str) -> Iterator[str]:
        """Yield, in lexicographic order, the parts that follow `prefix` in the names of objects, up to the next slash.

        `prefix` ends with a slash. However many objects lie in the folders, they are not listed.
        """
        ...

    def delete(self, name: str) -> None:
        """Delete the object; one that does not exist is no error."""
        ...


def check_name(name: str) -> str:
    """Return `name` if it is a valid object name in every kind of bucket, else raise BucketError."""
    parts = name.split("/")
    if (
        any(part in ("", ".", "..") for part in parts)
        or parts[0] == RESERVED
        or any(character in "\\\0\r\n" for character in name)
        or len(name.encode(errors="replace")) > _MAX_NAME_BYTES
        or any("\ud800" <= character <= "\udfff" for character in name)  # no UTF-8 for these
    ):
        raise BucketError(f"{name!r} is not a valid object name in a bucket.")
    return name
