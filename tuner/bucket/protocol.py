"""The Bucket protocol: what every durable place must do, and what each method raises.

Object names are relative to the bucket's prefix: parts joined by `/`, no empty, `.` or `..` part
(`check_name`). Every method raises `BucketError` when the bucket itself fails (missing, no rights, full,
unreachable), with a sentence that names the bucket's URL and the object.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from tuner.errors import BucketError


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
        """Create the object, atomically and durably. Raises ObjectExistsError where the name is taken."""
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
        """Say whether the object exists."""
        ...

    def list(self, prefix: str = "") -> Iterator[str]:
        """Yield, in lexicographic order, the names of all objects that start with `prefix`."""
        ...

    def delete(self, name: str) -> None:
        """Delete the object; one that does not exist is no error."""
        ...


def check_name(name: str) -> str:
    """Return `name` if it is a valid object name, else raise BucketError."""
    parts = name.split("/")
    if not name or "\\" in name or "\0" in name or any(part in ("", ".", "..") for part in parts):
        raise BucketError(f"{name!r} is not a valid object name in a bucket.")
    return name
