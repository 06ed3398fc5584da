"""The protocol of sources of images: a folder, a zip archive, gs:// or the built-in sample."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from tuner.errors import DataError

MAX_FILE_BYTES = 64 << 20
"""Maximum size of an image file. A larger file is a mistake or a decompression bomb."""

_JUNK = ("Thumbs.db", "ehthumbs.db", "desktop.ini")


class File(NamedTuple):
    """One file of a source. It is a tuple because CIFAKE's 120,000 files are sent to other processes."""

    path: str
    """Relative path. Its parts are joined by `/`, and none of them is empty, `.` or `..`."""
    size_bytes: int
    offset: int = 0
    """In a zip archive, the position of the file's local header. The fields below are for archives, too."""
    packed_bytes: int = 0
    method: int = 0
    crc: int = 0
    """CRC-32 of the unpacked bytes."""


@dataclass(frozen=True)
class Entries:
    """All files and folders of a source, except for the files that `is_junk` excludes."""

    files: tuple[File, ...]
    folders: frozenset[str]
    """Folders that the source lists, including empty ones. "" is the source itself."""
    warnings: tuple[str, ...] = ()
    """Sentences about a source that can be read, but is probably not as it should be."""


@dataclass(frozen=True)
class Progress:
    """Progress of a long operation."""

    what: str
    """Name of the step: reading, packing, checking, downloading or verifying."""
    done: int
    total: int
    """Number of units in total, or 0 if it is unknown."""
    unit: str = "images"


def ignore_progress(_: Progress) -> None:
    """Do nothing."""


class DamagedFileError(DataError):
    """One file of a source is damaged or not supported. The other files may be usable."""


class Source(Protocol):
    """A source of image files. It is small and picklable, so that several processes can read it."""

    @property
    def name(self) -> str:
        """Name in messages and in the manifest. It is never a path on this machine."""
        ...

    def likely_files(self) -> int:
        """Return a quick estimate of the number of files, so that processes can start before the listing ends."""
        ...

    def entries(self) -> Entries:
        """List the source. Raises DataError if the source is missing, cut short, unsafe or a decompression bomb."""
        ...

    def reader(self) -> AbstractContextManager[Callable[[File], bytes]]:
        """Yield a function that reads a whole file.

        The function raises DamagedFileError if the file is damaged, and DataError if the source has become unreadable.
        """
        ...


def is_junk(path: str) -> bool:
    """Return whether `path` is hidden, or is a file that an operating system leaves behind, such as Thumbs.db."""
    if "/." in path or "__MACOSX" in path or path.startswith("."):
        return any(part.startswith(".") or part == "__MACOSX" for part in path.split("/"))
    return path.endswith(_JUNK) and path.rpartition("/")[2] in _JUNK
