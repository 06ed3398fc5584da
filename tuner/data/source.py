"""The protocol of sources of images: a folder, an archive, a bucket or the built-in sample."""

import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from tuner.errors import DataError

MAX_FILE_BYTES = 512 << 20
"""Maximum size of an image file. A larger file is a mistake or a decompression bomb. Photos of 100 megapixels are
smaller, even without compression."""
MAX_RATIO = 100
"""Maximum ratio of an archive's unpacked size to its own size. Images are already compressed, so an archive with
a higher ratio is a decompression bomb."""
MAX_SMALL_TOTAL_BYTES = 1 << 30
"""Unpacked size up to which `MAX_RATIO` does not apply."""

_JUNK = re.compile(
    r"(?:^|/)(?:\.|(?:__MACOSX|@eaDir|\$RECYCLE\.BIN|System Volume Information)(?:/|$)"
    r"|(?i:thumbs\.db|ehthumbs\.db|desktop\.ini|icon\r)$)"
)
_UNUSUAL_PATH = re.compile(r"[\\:\0]|//|^[/.]|/\.")


class File(NamedTuple):
    """One file of a source. It is a tuple because CIFAKE's 120,000 files are sent to other processes."""

    path: str
    """Relative path. Its parts are joined by `/`, and none of them is empty, `.` or `..`."""
    size_bytes: int
    offset: int = 0
    """In a zip archive, the position of the file's local header; in a tar archive, that of its bytes."""
    packed_bytes: int = 0
    """In a zip archive, the compressed size. The fields below are for zip archives, too."""
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
    """Return whether `path` is hidden, or is something that an operating system leaves behind, such as Thumbs.db."""
    return _JUNK.search(path) is not None


def safe_path(name: str, archive: str) -> str:
    """Return the name of an archive's member as a plain relative path; a folder's path ends with `/`.

    Raises DataError if the name leads out of the archive.
    """
    if not _UNUSUAL_PATH.search(name):
        return name
    parts = name.replace("\\", "/").split("/")
    if ".." in parts or not parts[0] or parts[0].endswith(":") or "\0" in name:
        raise DataError(f"{archive}: the name {name!r} is not a safe relative path. Do not use this archive.")
    plain = "/".join(part for part in parts if part not in ("", "."))
    return f"{plain}/" if plain and not parts[-1] else plain


def bomb(archive: str, why: str) -> DataError:
    """Return the error that refuses a decompression bomb."""
    return DataError(f"{archive}: {why}. This is probably a decompression bomb. Do not use this archive.")
