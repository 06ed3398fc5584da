"""Files that appear whole or not at all: temporary files, durable folders, and clearing up after crashes."""

import contextlib
import errno
import fcntl
import os
import stat
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from tuner.errors import BucketError

COPY_BYTES = 1 << 20
# A temporary file is stale when no one holds its lock. The age covers the instant between creating and locking it,
# and file systems on which locks do not work.
STALE_AFTER_S = 3600.0


@dataclass(frozen=True)
class Temporary:
    """A file under a name that no one else looks for."""

    path: Path
    file: BinaryIO

    def sync(self) -> None:
        """Bring all that was written to the disk."""
        self.file.flush()
        os.fsync(self.file.fileno())


@contextlib.contextmanager
def temporary(folder: Path, suffix: str) -> Iterator[Temporary]:
    """Yield a new file in `folder`, which must exist; its temporary name is gone at the end, whatever happened.

    The file is locked while it is open, which tells `remove_stale` that its writer lives. Its mode follows the umask,
    unlike that of `tempfile`: pods that share a volume may run as different users.
    """
    path = folder / f"{uuid.uuid4().hex}{suffix}"
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o666)
    try:
        with open(descriptor, "wb") as file:
            with contextlib.suppress(OSError):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield Temporary(path, file)
    finally:
        with contextlib.suppress(OSError):
            path.unlink()


@contextlib.contextmanager
def downloading(what: str, path: Path) -> Iterator[BinaryIO]:
    """Yield a file that becomes `path`, whole and on the disk, when the block has ended well.

    Raises BucketError, which begins with `Cannot copy {what}`, for what this machine's disk refuses.
    """
    suffix = f".{path.name}.part"
    try:
        make_folders(path.parent)
        remove_stale(path.parent, suffix)
        with temporary(path.parent, suffix) as target:
            yield target.file
            target.sync()
            target.path.replace(path)
    except OSError as error:
        raise BucketError(f"Cannot copy {what} to {path}: {error.strerror or error}.") from error


def remove_stale(folder: Path, suffix: str) -> None:
    """Remove what killed processes left in `folder` under `suffix`; failing to is no harm."""
    with contextlib.suppress(OSError):
        for path in folder.glob(f"*{suffix}"):
            with contextlib.suppress(OSError):
                if time.time() - path.stat().st_mtime > STALE_AFTER_S and not _is_locked(path):
                    path.unlink()


def sync_folder(folder: Path) -> None:
    """Bring the folder's entries to the disk; one that is gone has none."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folders(folder: Path) -> None:
    """Create the folder and its parents, durably. A parent that vanishes meanwhile raises FileNotFoundError."""
    if folder.is_dir():
        return
    make_folders(folder.parent)
    with contextlib.suppress(FileExistsError):
        folder.mkdir()
        sync_folder(folder.parent)
    # One look, not two: between them a folder that was pruned again can be made again, and be taken for a file.
    if not stat.S_ISDIR(folder.stat().st_mode):
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder))


def _is_locked(path: Path) -> bool:
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False
