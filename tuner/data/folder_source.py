"""A folder as a source."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tuner.data.source import MAX_FILE_BYTES, DamagedFileError, Entries, File, is_junk
from tuner.errors import DataError


@dataclass(frozen=True)
class FolderSource:
    """A folder. Links are followed; each folder is visited once."""

    path: Path
    label: str = ""

    @property
    def name(self) -> str:
        """The folder's own name."""
        return self.label or self.path.resolve().name

    def likely_files(self) -> int:
        """Return 0: only the listing itself shows how many."""
        return 0

    def entries(self) -> Entries:
        """List the folder and the folders in it."""
        files: list[File] = []
        folders: set[str] = set()
        visited: set[tuple[int, int]] = set()
        waiting = [""]
        try:
            while waiting:
                folder = waiting.pop()
                status = os.stat(self.path / folder)
                if (status.st_dev, status.st_ino) in visited:
                    continue
                visited.add((status.st_dev, status.st_ino))
                folders.add(folder)
                with os.scandir(self.path / folder) as entries:
                    for entry in entries:
                        path = f"{folder}/{entry.name}" if folder else entry.name
                        if is_junk(path):
                            continue
                        if not path.isascii():
                            _check_unicode(path)
                        if entry.is_dir():
                            waiting.append(path)
                        else:
                            files.append(File(path, entry.stat().st_size))
        except OSError as error:
            raise DataError(f"{error.filename}: cannot be read ({error.strerror}).") from None
        return Entries(tuple(files), frozenset(folders))

    @contextmanager
    def reader(self) -> Iterator[Callable[[File], bytes]]:
        """Read files by path."""

        def read(file: File) -> bytes:
            if file.size_bytes > MAX_FILE_BYTES:
                raise DamagedFileError(f"{file.path}: has {file.size_bytes:,} bytes; no image may exceed 64 MiB.")
            try:
                with open(f"{self.path}/{file.path}", "rb") as stream:
                    return stream.read(MAX_FILE_BYTES + 1)
            except FileNotFoundError:
                raise DataError(
                    f"{file.path}: disappeared from {self.name} while it was being read; nothing was packed."
                ) from None
            except OSError as error:
                raise DataError(f"{file.path}: cannot be read from {self.name} ({error.strerror}).") from None

        yield read


def _check_unicode(path: str) -> None:
    try:
        path.encode()
    except UnicodeEncodeError:
        raise DataError(f"{path!r}: is not valid UTF-8; rename the file.") from None
