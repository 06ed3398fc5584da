"""Where images come from: a folder, a zip, gs:// or the built-in sample, behind one Protocol."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from tuner.errors import DataError

MAX_FILE_BYTES = 64 << 20
"""Maximum size of an image file; a larger one is a mistake or a decompression bomb."""

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
    """Progress of a long operation."""

    what: str
    """The step, as a word: reading, packing, checking, downloading, verifying."""
    done: int
    total: int
    """0 if unknown."""
    unit: str = "images"


def ignore_progress(_: Progress) -> None:
    """Do nothing."""


class DamagedFileError(DataError):
    """One file of a source cannot be read as what it claims to be; the others may be fine."""


class Source(Protocol):
    """Files with images. Small and picklable, so that several processes read one source."""

    @property
    def name(self) -> str:
        """Name in messages and in the manifest; never a path of this machine."""
        ...

    def likely_files(self) -> int:
        """Return a cheap estimate of the number of files, by which processes are started before the listing ends."""
        ...

    def entries(self) -> Entries:
        """List the source. Raises DataError if it is not usable: missing, cut short, unsafe names, a bomb."""
        ...

    def reader(self) -> AbstractContextManager[Callable[[File], bytes]]:
        """Return a function that reads one file whole.

        The function raises DamagedFileError for a damaged file, DataError if the source is gone.
        """
        ...


def is_junk(path: str) -> bool:
    """Return whether `path` is a file left behind by an operating system, such as Thumbs.db."""
    if "/." in path or "__MACOSX" in path or path.startswith("."):
        return any(part.startswith(".") or part == "__MACOSX" for part in path.split("/"))
    return path.endswith(_JUNK) and path.rpartition("/")[2] in _JUNK
