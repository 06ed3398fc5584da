"""Where images come from: a folder, a zip, gs:// or the built-in sample, behind one Protocol."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from tuner.errors import DataError

MAX_FILE_BYTES = 64 << 20
"""No image is larger: more is a mistake or a decompression bomb."""


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


def is_junk(path: str) -> bool:
    """Say whether `path` is what operating systems leave in folders and archives: never an image of the set."""
    if "/." in path or "__MACOSX" in path or path.startswith("."):
        return any(part.startswith(".") or part == "__MACOSX" for part in path.split("/"))
    return path.endswith(_JUNK) and path.rpartition("/")[2] in _JUNK
