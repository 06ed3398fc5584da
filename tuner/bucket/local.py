"""LocalBucket: a folder as a bucket, safe against crashes and concurrent processes.

An object is a file. It is written under a temporary name in a hidden folder of the same file system, flushed to the
disk, then renamed (`write`) or hard-linked (`create`, because a link fails if the name is taken). A file never changes
under its final name, so a reader that has opened it reads that version to its end.
"""

import contextlib
import errno
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from tuner.bucket.files import COPY_BYTES, Temporary, downloading, make_folders, remove_stale, sync_folder, temporary
from tuner.bucket.protocol import RESERVED, check_name
from tuner.errors import BucketError, BucketFullError, ObjectExistsError, ObjectNotFoundError

_SUFFIX = ".tmp"
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
        with self._open(name) as file, self._failing("read", name):
            return file.read()

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
        with self._open(name) as source, downloading(f"{name} from {self.url}", path) as file:
            shutil.copyfileobj(source, file, COPY_BYTES)

    def exists(self, name: str) -> bool:
        """Return whether the object exists."""
        path = self._path(name)
        with self._failing("look for", name):
            try:
                return path.is_file()
            except NotADirectoryError:
                return False

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
                path.unlink()
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
        with self._failing("read", name):
            try:
                return path.open("rb")
            except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
                if self._root.exists() and not self._root.is_dir():
                    raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(self._root)) from error
                raise ObjectNotFoundError(f"The bucket {self.url} has no object {name}.") from error

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
                    os.link(new.path, path)
                return
            except FileNotFoundError:
                if not tries_left:
                    raise
            except FileExistsError as error:
                # Over NFS, the response to a link can be lost and its retry fails. Two names mean that the link exists.
                if os.fstat(new.file.fileno()).st_nlink == 2:
                    return
                if path.is_dir():
                    raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path)) from error
                raise ObjectExistsError(f"The bucket {self.url} already has an object {name}.") from error

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
            try:
                with os.scandir(self._root / folder) as entries:
                    keys = sorted(key for entry in entries if (key := _sort_key(entry)) is not None)
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


def _write(file: BinaryIO, data: bytes) -> None:
    file.write(data)


def _sort_key(entry: os.DirEntry[str]) -> str | None:
    if entry.is_dir(follow_symlinks=False):
        return f"{entry.name}/"
    return entry.name if entry.is_file() else None


_NO_SPACE = "no space is left there ({reason}). Nothing was written. Free some space, or use another bucket."
_FULL = (errno.ENOSPC, errno.EDQUOT)
_NO_PERMISSION = "user {user} has no permission at {at} ({reason}). Change its owner or mode, or use another bucket."
_NO_LINKS = "its file system has no hard links ({reason}). Use another file system, or gs://."
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
    errno.ENAMETOOLONG: "the name is too long for this file system. Use a bucket on another file system, or gs://.",
}


def _explain(error: OSError, root: Path) -> str:
    sentence = _EXPLANATIONS.get(error.errno or 0, "{reason}.")
    at = error.filename2 or error.filename or root
    return sentence.format(reason=error.strerror or error, at=at, user=os.geteuid())
