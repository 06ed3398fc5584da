"""A folder as a source of images."""

import os
import stat
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tuner.data.source import MAX_FILE_BYTES, DamagedFileError, Entries, File, is_junk
from tuner.errors import DataError

_Place = tuple[int, int]
"""Device and inode of a folder."""
_MAX_VISITS = 16


@dataclass(frozen=True)
class FolderSource:
    """A folder. Symbolic links are followed."""

    path: Path
    label: str = ""

    @property
    def name(self) -> str:
        """`label`, or by default the folder's own name."""
        return self.label or self.path.resolve().name

    def likely_files(self) -> int:
        """Return 0, because the number is unknown before the folder is listed."""
        return 0

    def entries(self) -> Entries:
        """List the folder recursively. A link to a folder around it is skipped."""
        files: list[File] = []
        folders: set[str] = set()
        visits: Counter[_Place] = Counter()
        waiting: list[tuple[str, frozenset[_Place]]] = [("", frozenset())]
        try:
            while waiting:
                folder, around = waiting.pop()
                status = os.stat(self.path / folder)
                place = (status.st_dev, status.st_ino)
                if place in around:
                    continue
                visits[place] += 1
                if visits[place] > _MAX_VISITS:
                    raise DataError(
                        f"{folder}: more than {_MAX_VISITS} links lead to this folder. Remove links between folders."
                    )
                folders.add(folder)
                with os.scandir(self.path / folder) as entries:
                    for entry in entries:
                        path = f"{folder}/{entry.name}" if folder else entry.name
                        if is_junk(path):
                            continue
                        if not path.isascii():
                            _check_unicode(path)
                        if entry.is_dir():
                            waiting.append((path, around | {place}))
                        else:
                            files.append(_file(path, entry))
        except OSError as error:
            raise DataError(
                f"{error.filename}: cannot be read ({error.strerror}). Make it readable, or remove it."
            ) from None
        return Entries(tuple(files), frozenset(folders))

    @contextmanager
    def reader(self) -> Iterator[Callable[[File], bytes]]:
        """Yield a function that reads a file by its path."""

        def read(file: File) -> bytes:
            if file.size_bytes > MAX_FILE_BYTES:
                raise DamagedFileError(
                    f"{file.path}: has {file.size_bytes:,} bytes, but the maximum is {MAX_FILE_BYTES >> 20} MiB."
                )
            try:
                with open(f"{self.path}/{file.path}", "rb") as stream:
                    return stream.read(MAX_FILE_BYTES + 1)
            except FileNotFoundError:
                raise DataError(
                    f"{file.path}: disappeared from {self.name} while it was being read. Run the command again."
                ) from None
            except OSError as error:
                raise DataError(
                    f"{file.path}: cannot be read from {self.name} ({error.strerror}). Make it readable, or remove it."
                ) from None

        yield read


def _check_unicode(path: str) -> None:
    try:
        path.encode()
    except UnicodeEncodeError:
        raise DataError(f"{path!r}: the name is not valid UTF-8. Rename the file.") from None


def _file(path: str, entry: "os.DirEntry[str]") -> File:
    """Return a file of a folder. Raises DataError if it is a link to nothing, or a pipe, which would block a reader."""
    try:
        status = entry.stat()
    except FileNotFoundError:
        if entry.is_symlink():
            raise DataError(
                f"{path}: is a link to a file that does not exist. Remove it, or restore the file."
            ) from None
        raise
    if not stat.S_ISREG(status.st_mode):
        raise DataError(f"{path}: is not a file (but a pipe, a socket or a device). Remove it.")
    return File(path, status.st_size)
