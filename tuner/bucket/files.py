"""Write files that appear completely or not at all, create folders durably, and clean up after crashes."""

import contextlib
import errno
import fcntl
import os
import stat
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeVar

from tuner.errors import BucketError

T = TypeVar("T")

COPY_BYTES = 1 << 20
"""Size of the pieces in which files are copied."""
STALE_AFTER_S = 3600.0
"""Seconds after which an unlocked temporary file is stale. The age protects a file
between its creation and its locking, and on file systems without working locks."""

_TRIES_IF_STALE = 20


@dataclass(frozen=True)
class Temporary:
    """A file under a unique temporary name."""

    path: Path
    file: BinaryIO

    def sync(self) -> None:
        """Flush all written bytes to the disk."""
        self.file.flush()
        os.fsync(self.file.fileno())


@contextlib.contextmanager
def temporary(folder: Path, suffix: str) -> Iterator[Temporary]:
    """Yield a new file in `folder`, which must exist. The file's temporary name is removed at the end in any case.

    The file is locked while it is open, so that `remove_stale` sees that its writer is alive. Its mode follows the
    umask, unlike the mode of `tempfile`, because pods that share a volume may run as different users.
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
def downloading(name: str, path: Path) -> Iterator[BinaryIO]:
    """Yield a file that becomes `path`, complete and durable, if the block ends without an error.

    Raises BucketError, with a message that begins with `Cannot copy {name}`, if the local disk fails.
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
        raise BucketError(f"Cannot copy {name} to {path}: {error.strerror or error}.") from error


def remove_stale(folder: Path, suffix: str) -> None:
    """Remove the files with `suffix` that killed processes left in `folder`. Failures are ignored."""
    with contextlib.suppress(OSError):
        for path in folder.glob(f"*{suffix}"):
            with contextlib.suppress(OSError):
                if time.time() - path.stat().st_mtime > STALE_AFTER_S and not _is_locked(path):
                    path.unlink()


def download_pieces(name: str, pieces: Iterator[bytes], path: Path) -> None:
    """Write the pieces of an object to `path`, as `downloading` does.

    No file is created before the first piece, because the object may be missing.
    """
    first = next(pieces, b"")
    with downloading(name, path) as file:
        file.write(first)
        for piece in pieces:
            file.write(piece)


def sync_folder(folder: Path) -> None:
    """Flush the folder's entries to the disk. A missing folder is ignored."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ESTALE):
            return
        raise
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):  # a file system that has nothing to flush for a folder
            raise
    finally:
        os.close(descriptor)


def unless_stale(attempt: Callable[[], T]) -> T:
    """Return the result of the attempt, which is repeated if another NFS client deleted or replaced its file."""
    for _ in range(_TRIES_IF_STALE - 1):
        try:
            return attempt()
        except OSError as error:
            if error.errno != errno.ESTALE:
                raise
    return attempt()


def look_again(folder: Path) -> None:
    """Make an NFS client compare what it remembers of a folder with the server's, by opening it.

    Otherwise it may answer for a minute as if another client had created, replaced or deleted nothing in the folder.
    """
    with contextlib.suppress(OSError):
        os.close(os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))


def is_file(path: Path, file: BinaryIO) -> bool:
    """Return whether `path` is a name of the open file. It is opened, because an NFS client caches counts of links."""
    try:
        with path.open("rb") as found:
            return os.path.samestat(os.fstat(found.fileno()), os.fstat(file.fileno()))
    except OSError:
        return False


def make_folders(folder: Path) -> None:
    """Create the folder and its parents durably. Raises FileNotFoundError if a parent is removed meanwhile."""
    if folder.is_dir():
        return
    make_folders(folder.parent)
    with contextlib.suppress(FileExistsError):
        folder.mkdir()
        sync_folder(folder.parent)
    # A single `stat` call, because between two calls a folder could be pruned and created again, and look like a file.
    if not stat.S_ISDIR(folder.stat().st_mode):
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder))


def _is_locked(path: Path) -> bool:
    with path.open("r+b") as file:  # over NFS, an exclusive lock requires a file that is open for writing
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False
