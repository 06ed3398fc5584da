"""LocalBucket: a folder as a bucket, safe against crashes and concurrent processes.

An object is a file. It is written under a temporary name in a hidden folder of the same file system, flushed to the
disk, then renamed (`write`) or hard-linked (`create`, because a link fails if the name is taken). A file never changes
under its final name, so a reader that has opened it reads that version to its end.

The folder may be on NFS, mounted by several machines. A client caches for a minute which names a folder contains,
unless the folder is opened, which compares it with the server's. So this class opens a folder before it looks for a
name in it. A file that another client replaces while it is read can be stale (ESTALE), and is read again.
"""

import contextlib
import errno
import os
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, TypeVar

from tuner.bucket.files import (
    COPY_BYTES,
    Temporary,
    downloading,
    is_file,
    look_again,
    make_folders,
    remove_stale,
    sync_folder,
    temporary,
    unless_stale,
)
from tuner.bucket.protocol import RESERVED, check_name
from tuner.errors import BucketError, BucketFullError, ObjectExistsError, ObjectNotFoundError

T = TypeVar("T")

_SUFFIX = ".tmp"
_SILLY_RENAMED = re.compile(r"\.nfs[0-9a-f]{24}")
"""Name that an NFS client gives to a file that is deleted or replaced while one of its processes has it open."""
_TRIES_AGAINST_PRUNING = 100
"""Maximum number of times a writer creates its folder. `delete` prunes empty folders, possibly one that a writer has
just created."""


class LocalBucket:
    """A folder as a bucket. The folder is created by the first write.

    File systems without hard links are not supported, and `create` raises an error on them. Unlike on GCS, an object
    cannot be "under" another one: if `a` is an object, `a/b` cannot be written.
    """

    def __init__(self, root: Path) -> None:
        self.url = str(root)
        # absolute, so that a later chdir does not move the bucket
        self._root = root.expanduser().absolute()
        self._cleared = False

    def read(self, name: str) -> bytes:
        """Return the object's bytes. Raises ObjectNotFoundError."""

        def read() -> bytes:
            with self._open(name) as file:
                return file.read()

        check_name(name)
        with self._failing("read", name):
            return unless_stale(read)

    def write(self, name: str, data: bytes) -> None:
        """Create or replace the object."""
        self._put(name, lambda file: _write(file, data), replace=True)

    def create(self, name: str, data: bytes) -> None:
        """Create the object. Raises ObjectExistsError if the name is taken."""
        self._put(name, lambda file: _write(file, data), replace=False)

    def upload(self, name: str, path: Path) -> None:
        """Create or replace the object from a local file."""
        check_name(name)
        try:
            source = path.open("rb")
        except OSError as error:
            raise BucketError(f"Cannot read {path} to store it as {name} in {self.url}: {error.strerror}.") from error
        with source:
            self._put(name, lambda file: shutil.copyfileobj(source, file, COPY_BYTES), replace=True)

    def download(self, name: str, path: Path) -> None:
        """Write the object to a local file. Raises ObjectNotFoundError."""

        def copy(file: BinaryIO) -> None:
            file.seek(0)
            file.truncate()
            with self._open(name) as source:
                shutil.copyfileobj(source, file, COPY_BYTES)

        with self._failing("read", name):
            self._open(name).close()  # without the object, no folder is created
            with downloading(f"{name} from {self.url}", path) as file:
                unless_stale(lambda: copy(file))

    def exists(self, name: str) -> bool:
        """Return whether the object exists."""
        with self._failing("look for", name):
            try:
                self._open(name).close()
            except ObjectNotFoundError:
                return False
        return True

    def list(self, prefix: str = "") -> Iterator[str]:
        """Yield, in lexicographic order, the names of all objects that start with `prefix`."""
        folder, _, _ = prefix.rpartition("/")
        if folder and any(part in ("", ".", "..") for part in folder.split("/")):
            return  # no valid name starts with such a part, and `..` must not lead out of the bucket
        for name in self._walk(f"{folder}/" if folder else ""):
            if name.startswith(prefix):
                yield name

    def folders(self, prefix: str) -> Iterator[str]:
        """Yield, in lexicographic order, the names of the folders in `prefix` that contain objects."""
        for key in self._keys(prefix):
            if key.endswith("/") and next(self._walk(prefix + key), None) is not None:
                yield key.removesuffix("/")

    def size_bytes(self, prefix: str) -> int:
        """Return the total size of all objects whose names start with `prefix`, in bytes."""
        total = 0
        for name in self.list(prefix):
            with self._failing("look for", name), contextlib.suppress(FileNotFoundError):  # deleted meanwhile
                total += self._path(name).stat().st_size
        return total

    def delete(self, name: str) -> None:
        """Delete the object. A missing object is not an error."""
        path = self._path(name)
        with self._failing("delete", name):
            try:
                self._up_to_date(path, path.unlink)
            except (FileNotFoundError, NotADirectoryError):
                return
            except (IsADirectoryError, PermissionError):
                if path.is_dir():  # a folder is not an object; macOS reports EPERM
                    return
                raise
            folder = path.parent
            with contextlib.suppress(OSError):  # not empty, or pruned by another process
                while folder != self._root:
                    folder.rmdir()
                    folder = folder.parent
            sync_folder(folder)

    def _path(self, name: str) -> Path:
        return self._root / check_name(name)

    def _open(self, name: str) -> BinaryIO:
        path = self._path(name)
        try:
            return self._up_to_date(path, lambda: path.open("rb"))
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
            if self._root.exists() and not self._root.is_dir():
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(self._root)) from error
            raise ObjectNotFoundError(f"The bucket {self.url} has no object {name}.") from error

    def _up_to_date(self, path: Path, attempt: Callable[[], T]) -> T:
        """Return the result of an attempt to open or delete `path`, as all NFS clients have left it."""
        look_again(path.parent)
        try:
            return unless_stale(attempt)
        except FileNotFoundError:
            self._look_again(path.parent)
            return unless_stale(attempt)

    def _look_again(self, folder: Path) -> None:
        """Look again for a folder that may be missing only in the cache of this NFS client."""
        for parent in reversed([folder, *folder.parents]):
            if parent.is_relative_to(self._root):
                look_again(parent)

    def _put(self, name: str, fill: Callable[[BinaryIO], None], *, replace: bool) -> None:
        path = self._path(name)
        with self._failing("write", name):
            hidden = self._root / RESERVED
            make_folders(hidden)
            if not self._cleared:
                self._cleared = True
                remove_stale(hidden, _SUFFIX)
            with temporary(hidden, _SUFFIX) as new:
                fill(new.file)
                new.sync()
                self._publish(new, path, name, replace=replace)
            sync_folder(path.parent)

    def _publish(self, new: Temporary, path: Path, name: str, *, replace: bool) -> None:
        for tries_left in reversed(range(_TRIES_AGAINST_PRUNING)):
            try:
                make_folders(path.parent)
                if replace:
                    new.path.replace(path)
                else:
                    _link(new.path, path)
                return
            except FileExistsError as error:
                if is_file(path, new.file):  # over NFS, the response to a link can be lost, and its retry fails
                    return
                if path.is_dir():
                    raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path)) from error
                if self.exists(name) or not tries_left:
                    raise ObjectExistsError(f"The bucket {self.url} already has an object {name}.") from error
            except OSError as error:
                if error.errno not in (errno.ENOENT, errno.ESTALE):
                    raise
                if replace and is_file(path, new.file):  # the same for a rename
                    return
                if not tries_left:
                    raise
            self._look_again(path.parent)

    def _walk(self, folder: str) -> Iterator[str]:
        """Yield the name of every object under `folder` ("" or ending in /), in order of full names.

        A folder sorts as `name/`, like its objects: `a-b` precedes `a/b`, since `-` precedes `/`.
        """
        for key in self._keys(folder):
            if key.endswith("/"):
                yield from self._walk(folder + key)
            else:
                yield folder + key

    def _keys(self, folder: str) -> Sequence[str]:
        """Return the entries of `folder` in order: objects, and folders with a slash at the end."""
        with self._failing("list", folder or "/"):
            path = self._root / folder

            def scan() -> list[str]:
                with os.scandir(path) as entries:
                    return sorted(key for entry in entries if (key := _sort_key(entry)) is not None)

            try:
                keys = self._up_to_date(path, scan)
            except FileNotFoundError:
                return []  # deleted meanwhile, or never written
            except NotADirectoryError:
                if folder:
                    return []
                raise
            except PermissionError:
                if folder == "lost+found/":  # owned by root, on every new ext4 volume
                    return []
                raise
        return [key for key in keys if folder or key != f"{RESERVED}/"]

    @contextlib.contextmanager
    def _failing(self, doing: str, name: str) -> Iterator[None]:
        """Convert the operating system's errors to a BucketError that says what to do."""
        try:
            yield
        except OSError as error:
            kind = BucketFullError if error.errno in _FULL else BucketError
            raise kind(f"Cannot {doing} {name} in the folder {self._root}: {_explain(error, self._root)}") from error


def _link(source: Path, path: Path) -> None:
    try:
        os.link(source, path)
    except PermissionError as error:
        if error.errno == errno.EPERM and not _has_links(source):
            raise OSError(errno.EOPNOTSUPP, os.strerror(error.errno), str(source), None, str(path)) from error
        raise


def _has_links(file: Path) -> bool:
    """Return whether a second name can be given to the file, beside its own. FAT refuses it as a lack of rights."""
    second = file.with_name(f"{file.name}.link{_SUFFIX}")
    try:
        os.link(file, second)
    except OSError:
        return False
    second.unlink()
    return True


def _write(file: BinaryIO, data: bytes) -> None:
    file.write(data)


def _sort_key(entry: os.DirEntry[str]) -> str | None:
    if entry.is_dir(follow_symlinks=False):
        return f"{entry.name}/"
    return entry.name if entry.is_file() and not _SILLY_RENAMED.fullmatch(entry.name) else None


_NO_SPACE = "no space is left there ({reason}). Nothing was written. Free some space, or use another bucket."
_FULL = (errno.ENOSPC, errno.EDQUOT)
_NO_PERMISSION = "user {user} has no permission at {at} ({reason}). Change its owner or mode, or use another bucket."
_NO_LINKS = (
    "its file system has no hard links, with which objects are created atomically ({reason}). Use NFS or another file "
    "system with hard links, or an object store."
)
_EXPLANATIONS = {
    errno.ENOSPC: _NO_SPACE,
    errno.EDQUOT: _NO_SPACE,
    errno.EFBIG: _NO_SPACE,
    errno.EACCES: _NO_PERMISSION,
    errno.EPERM: _NO_PERMISSION,
    errno.EOPNOTSUPP: _NO_LINKS,
    errno.ENOSYS: _NO_LINKS,
    errno.EXDEV: "{at} is on another file system than the bucket. Put the whole bucket on one file system.",
    errno.EROFS: "its file system is read-only. Mount it as writable, or use another bucket.",
    errno.ENOTDIR: "a file is in the place of a folder ({at}). Move the file away.",
    errno.EISDIR: "a folder has that name. Move the folder away.",
    errno.ENAMETOOLONG: "the name is too long for this file system. Use a bucket on another file system.",
}


def _explain(error: OSError, root: Path) -> str:
    sentence = _EXPLANATIONS.get(error.errno or 0, "{reason}.")
    at = error.filename2 or error.filename or root
    return sentence.format(reason=error.strerror or error, at=at, user=os.geteuid())
