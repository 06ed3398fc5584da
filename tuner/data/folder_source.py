"""A folder as a source of images."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tuner.data.source import MAX_FILE_BYTES, DamagedFileError, Entries, File, is_junk
from tuner.errors import DataError


@dataclass(frozen=True)
class FolderSource:
    """A folder. Symbolic links are followed, and each folder is visited only once."""

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
        """List the folder recursively."""
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
            raise DataError(
                f"{error.filename}: cannot be read ({error.strerror}). Make it readable, or remove it."
            ) from None
        return Entries(tuple(files), frozenset(folders))

    @contextmanager
    def reader(self) -> Iterator[Callable[[File], bytes]]:
        """Yield a function that reads a file by its path."""

        def read(file: File) -> bytes:
            if file.size_bytes > MAX_FILE_BYTES:
                raise DamagedFileError(f"{file.path}: has {file.size_bytes:,} bytes, but the maximum is 64 MiB.")
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
