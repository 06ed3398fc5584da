"""The Bucket protocol: the methods of every kind of bucket, and the errors that they raise.

Object names are relative to the bucket's prefix. They are parts joined by `/`, without empty, `.` or `..` parts
(`check_name`). Every method raises `BucketError` if the bucket itself fails (missing, no permission, full,
unreachable), with a message that names the bucket's URL and the object.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from tuner.errors import BucketError

RESERVED = ".cifake-tune-unfinished"
"""Folder of `LocalBucket` for unfinished objects. No object may be in it, in any kind of bucket."""
_MAX_NAME_BYTES = 1024  # GCS, https://cloud.google.com/storage/docs/objects#naming


class Bucket(Protocol):
    """A flat store of named objects, which are replaced as a whole and never modified.

    `url` is the bucket as a user writes it: a folder's path, or the URL of a prefix in an object store.
    """

    url: str

    def read(self, name: str) -> bytes:
        """Return the object's bytes. Raises ObjectNotFoundError."""
        ...

    def write(self, name: str, data: bytes) -> None:
        """Create or replace the object atomically: a reader sees either the old or the new bytes."""
        ...

    def create(self, name: str, data: bytes) -> None:
        """Create the object atomically and durably. Raises ObjectExistsError if the name is taken.

        `data` should contain an id unique to the writer. Over a network, the response to a successful create can be
        lost, and the retry then finds the name taken. The buckets of object stores resolve this by reading the object:
        the same bytes mean that this call created it. With equal bytes, two writers could both succeed. If another
        BucketError is raised, the object may or may not have been created.
        """
        ...

    def upload(self, name: str, path: Path) -> None:
        """Create or replace the object atomically from a local file, which is streamed."""
        ...

    def download(self, name: str, path: Path) -> None:
        """Stream the object to a local file, which appears completely or not at all.

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
        """Yield, in lexicographic order, the names of the folders in `prefix` that contain objects.

        `prefix` ends with a slash. The objects in the folders are not listed, so their number does not matter.
        """
        ...

    def size_bytes(self, prefix: str) -> int:
        """Return the total size of all objects whose names start with `prefix`, in bytes."""
        ...

    def delete(self, name: str) -> None:
        """Delete the object. A missing object is not an error."""
        ...


def check_name(name: str) -> str:
    """Return `name` if it is a valid object name in every kind of bucket, else raise BucketError."""
    parts = name.split("/")
    if (
        any(part in ("", ".", "..") for part in parts)
        or parts[0] == RESERVED
        or any(character in "\\\0\r\n" for character in name)
        or len(name.encode(errors="replace")) > _MAX_NAME_BYTES
        or any("\ud800" <= character <= "\udfff" for character in name)  # surrogates have no UTF-8 encoding
    ):
        raise BucketError(f"{name!r} is not a valid object name in a bucket.")
    return name
