"""Whether a checkpoint fits on the disks that it is written to, found out before the epoch is trained."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tuner.bucket import local_folder
from tuner.errors import EnvironmentFailure
from tuner.temporary_files import shortage

JOURNAL_BYTES = 512 << 10
"""Space that checkpoints leave in a folder that is the bucket, so that the chief can still write its journal."""


@dataclass(frozen=True)
class _Place:
    folder: Path
    needed: int
    description: str
    remedy: str


def require_room(needed: int, folder: Path, bucket_url: str) -> None:
    """Raise EnvironmentFailure if there is no room for a checkpoint.

    Args:
        needed: Size of the checkpoint in bytes.
        folder: Folder in which it is saved first.
        bucket_url: Bucket to which it is uploaded then. Its free space is known only if it is a folder.
    """
    for place in _places(needed, folder, bucket_url):
        if problem := shortage(_existing(place.folder), place.needed, f"in {place.description}"):
            raise EnvironmentFailure(f"no checkpoint can be saved: {problem}. {place.remedy}")


def require_room_in_bucket(needed: int, bucket_url: str) -> None:
    """Raise EnvironmentFailure if the bucket is a folder without room for a checkpoint of `needed` bytes."""
    bucket = local_folder(bucket_url)
    if bucket is not None:
        require_room(needed, bucket, bucket_url)


def _places(needed: int, folder: Path, bucket_url: str) -> Iterator[_Place]:
    bucket = local_folder(bucket_url)
    with_journal = needed + JOURNAL_BYTES
    if bucket is not None:
        is_shared = folder != bucket and _device(folder) == _device(bucket)  # it holds the saved and the uploaded file
        yield _Place(
            bucket,
            with_journal + (needed if is_shared else 0),
            f"the bucket {bucket_url}",
            "Free some space there, or use a larger disk.",
        )
    if folder != bucket:
        remedy = "Free some space there, or set TMPDIR to a folder with free space."
        yield _Place(folder, needed, f"the folder {folder} of the worker's temporary files", remedy)


def _device(folder: Path) -> int:
    return os.stat(_existing(folder)).st_dev


def _existing(folder: Path) -> Path:
    """Return the folder, or its nearest parent that exists."""
    folder = folder.expanduser().absolute()
    while not folder.exists():
        folder = folder.parent
    return folder
