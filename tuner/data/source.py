"""Where images come from: a folder, a zip, gs:// or the built-in sample, behind one Protocol."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

from tuner.bucket import open_bucket
from tuner.errors import DataError
from tuner.temporary_files import temporary_folder

MAX_FILE_BYTES = 64 << 20
"""No image is larger: more is a mistake or a decompression bomb."""

DOWNLOADS = 16
"""Objects fetched at once from gs://; each is small, so latency rules."""

_JUNK = ("Thumbs.db", "ehthumbs.db", "desktop.ini")


class File(NamedTuple):
    """One file of a source. A tuple because there are 120,000, and they travel to other processes."""

    path: str
    """Relative, parts joined by `/`, none of them empty, `.` or `..`."""
    size_bytes: int
    offset: int = 0
    """In a zip: where its local header begins; then packed size, method and CRC-32 of the unpacked bytes."""
    packed_bytes: int = 0
    method: int = 0
    crc: int = 0


@dataclass(frozen=True)
class Entries:
    """Everything in a source, junk of operating systems left out."""

    files: tuple[File, ...]
    folders: frozenset[str]
    """Folders named by the source itself, empty ones too; "" is the source."""


@dataclass(frozen=True)
class Progress:
    """How far a long job is."""

    what: str
    """The step, as a word: reading, packing, checking, downloading, verifying."""
    done: int
    total: int
    """0 where nobody knows."""
    unit: str = "images"


def ignore_progress(_: Progress) -> None:
    """Tell nobody."""


class DamagedFileError(DataError):
    """One file of a source cannot be read as what it claims to be; the others may be fine."""


class Source(Protocol):
    """Files with images. Small and picklable, so that several processes read one source."""

    @property
    def name(self) -> str:
        """How messages and the manifest call it; no path of this machine."""
        ...

    def likely_files(self) -> int:
        """Guess at the number of files, at no cost: whether it is worth starting processes while they are listed."""
        ...

    def entries(self) -> Entries:
        """List the source. Raises DataError where it is not usable: missing, cut short, unsafe names, a bomb."""
        ...

    def reader(self) -> AbstractContextManager[Callable[[File], bytes]]:
        """Return a function that reads one file whole.

        It raises DamagedFileError for a damaged file, DataError where the source is gone.
        """
        ...


@contextmanager
def open_source(source: str | None, progress: Callable[[Progress], None] = ignore_progress) -> Iterator[Source]:
    """Yield the source that a user named: a zip, a folder, `gs://…`, or None for the built-in sample.

    What lies in a bucket is copied to a temporary folder first. Raises DataError where there is nothing usable.
    """
    from tuner.data.sample import SampleSource
    from tuner.data.zip_source import ZipSource

    if source is None:
        yield SampleSource()
    elif source.startswith("gs://"):
        with temporary_folder() as folder:
            yield _copy(source, Path(folder), progress)
    else:
        path = Path(source)
        if path.is_dir():
            yield FolderSource(path)
        elif path.is_file():
            yield ZipSource(path)
        else:
            raise DataError(f"{source}: there is no such file or folder.")


@dataclass(frozen=True)
class FolderSource:
    """A folder; links are followed, each folder once."""

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
        seen: set[tuple[int, int]] = set()
        waiting = [""]
        try:
            while waiting:
                folder = waiting.pop()
                status = os.stat(self.path / folder)
                if (status.st_dev, status.st_ino) in seen:
                    continue
                seen.add((status.st_dev, status.st_ino))
                folders.add(folder)
                with os.scandir(self.path / folder) as found:
                    for entry in found:
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
                    f"{file.path}: has disappeared from {self.name} while it was read; nothing was packed."
                ) from None
            except OSError as error:
                raise DataError(f"{file.path}: cannot be read from {self.name} ({error.strerror}).") from None

        yield read


def is_junk(path: str) -> bool:
    """Say whether `path` is what operating systems leave in folders and archives: never an image of the set."""
    if "/." in path or "__MACOSX" in path or path.startswith("."):
        return any(part.startswith(".") or part == "__MACOSX" for part in path.split("/"))
    return path.endswith(_JUNK) and path.rpartition("/")[2] in _JUNK


def _check_unicode(path: str) -> None:
    try:
        path.encode()
    except UnicodeEncodeError:
        raise DataError(f"{path!r}: is no valid UTF-8; rename the file.") from None


def _copy(url: str, folder: Path, progress: Callable[[Progress], None]) -> Source:
    """Copy `gs://bucket/archive.zip` or all under `gs://bucket/prefix` to `folder`."""
    from tuner.data.zip_source import ZipSource

    parent, _, last = url.rstrip("/").rpartition("/")
    if last.lower().endswith(".zip") and parent != "gs:/":
        archive = folder / "archive.zip"
        progress(Progress("downloading", 0, 1, "files"))
        open_bucket(parent).download(last, archive)
        progress(Progress("downloading", 1, 1, "files"))
        return ZipSource(archive, label=last)
    bucket = open_bucket(url.rstrip("/"))
    names = [name for name in bucket.list() if not name.endswith("/") and not is_junk(name)]
    if not names:
        raise DataError(f"{url}: holds no objects; give the archive's name or the folder that has train/ and test/.")
    for parent_of in {name.rpartition("/")[0] for name in names}:
        (folder / parent_of).mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(DOWNLOADS) as threads:
        copies = threads.map(lambda name: bucket.download(name, folder / name), names)
        for done, _copied in enumerate(copies, start=1):
            progress(Progress("downloading", done, len(names), "files"))
    return FolderSource(folder, label=last)
