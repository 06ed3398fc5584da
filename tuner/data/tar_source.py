"""A tar archive as a source. A compressed archive is first unpacked to a temporary file, because it cannot be searched.

Files are then read by their position, as those of a zip archive are. Links and devices are refused, and so are archives
that unpack to far more than their size.
"""

import bz2
import contextlib
import gzip
import os
import tarfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from tuner.data.archive_file import ArchiveFile
from tuner.data.source import (
    MAX_FILE_BYTES,
    MAX_RATIO,
    MAX_SMALL_TOTAL_BYTES,
    DamagedFileError,
    Entries,
    File,
    Progress,
    bomb,
    is_junk,
    safe_path,
)
from tuner.errors import DataError, EnvironmentFailure

SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tbz")
"""Names of the archives that are read, for archives in a bucket. On a disk, the first bytes decide."""

_GZIP, _BZIP2 = b"\x1f\x8b", b"BZh"
_MAGIC_AT, _MAGIC = 257, b"ustar"
_BLOCK_BYTES = 512
_READ_BYTES = 1 << 20
_MAX_HEADER_BYTES = 1 << 20
"""Maximum size of what precedes a file, such as its long name. A larger one is an attack on the memory."""
_CUT_SHORT = ("end of data", "empty header", "truncated header")


class _BoundedFile:
    """A file that refuses the large reads that a hostile header would cause."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.seek, self.tell, self.close = stream.seek, stream.tell, stream.close

    def read(self, size_bytes: int = -1) -> bytes:
        """Read at most `_MAX_HEADER_BYTES`."""
        if not 0 <= size_bytes <= _MAX_HEADER_BYTES:
            raise tarfile.ReadError(f"a header claims {size_bytes:,} bytes")
        return self._stream.read(size_bytes)


@dataclass(frozen=True)
class TarSource(ArchiveFile):
    """A local, uncompressed tar archive."""

    small_image_bytes = 1500

    def entries(self) -> Entries:
        """Read the headers. The files between them are skipped."""
        files: dict[str, File] = {}
        folders: set[str] = set()
        try:
            size_bytes = self.path.stat().st_size
            with (
                open(self.path, "rb") as stream,
                tarfile.open(fileobj=_BoundedFile(stream), mode="r:") as archive,  # type: ignore[call-overload]
            ):
                while (member := archive.next()) is not None:
                    archive.members = []  # otherwise, all headers would stay in memory
                    self._add(member, size_bytes, files, folders)
                self._check_end(stream, archive.offset)
        except OSError as error:
            raise DataError(f"{self.name}: cannot be read ({error.strerror}). Make the file readable.") from None
        except (tarfile.TarError, ValueError) as error:
            if any(sign in str(error) for sign in _CUT_SHORT):
                raise self._cut_short(next(reversed(files), "its first file")) from None
            raise self._damaged(str(error)) from None
        return Entries(tuple(files.values()), frozenset(folders))

    @contextmanager
    def reader(self) -> Iterator[Callable[[File], bytes]]:
        """Yield a function that reads a file by its position."""
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise DataError(
                f"{self.name}: cannot be opened any more ({error.strerror}). Run the command again."
            ) from None
        try:
            yield lambda file: self._read(descriptor, file)
        finally:
            os.close(descriptor)

    def _add(self, member: tarfile.TarInfo, size_bytes: int, files: dict[str, File], folders: set[str]) -> None:
        try:
            member.name.encode()
        except UnicodeEncodeError:
            raise DataError(
                f"{self.name}: the name {member.name!r} is not valid UTF-8. Make the archive again with UTF-8 names."
            ) from None
        path = safe_path(member.name, self.name)
        if not path or is_junk(path.removesuffix("/")):
            return
        if member.size < 0:
            raise self._damaged(f"the size of {path} is negative")
        if member.isdir():
            folders.add(path.removesuffix("/"))
            return
        if member.issym() or member.islnk():
            raise DataError(
                f"{self.name}: {path} is a link, and links in archives are not followed. Make the archive again with "
                "`tar --dereference --hard-dereference`, or unpack it and pass the folder."
            )
        if not member.isreg() or member.issparse():
            kind = "a sparse file" if member.issparse() else "not a regular file (such as a device or a pipe)"
            raise DataError(f"{self.name}: {path} is {kind}. Do not use this archive, or make it again without it.")
        if path in files:
            raise DataError(f"{self.name}: {path} is in the archive twice. Remove one of the two files.")
        if member.offset_data + member.size > size_bytes:
            raise self._cut_short(path)
        files[path] = File(path, member.size, member.offset_data)

    def _check_end(self, stream: BinaryIO, end_at: int) -> None:
        """Raise DataError if the archive does not end with its end mark, blocks of zeros.

        Python's tarfile takes a damaged header for the end, and ignores all files behind it. An archive without its end
        mark may have been cut short between two files.
        """
        stream.seek(end_at)
        if not stream.read(1):
            raise DataError(
                f"{self.name}: has no end mark, because the archive is cut short. Download it again, or unpack it and "
                "pass the folder."
            )
        stream.seek(end_at)
        while data := stream.read(_READ_BYTES):
            if data.count(0) < len(data):
                raise self._damaged(f"there are other bytes behind the end of its files, at {end_at:,}")

    def _damaged(self, why: str) -> DataError:
        return DataError(
            f"{self.name}: is not a tar archive, or is damaged ({why}). Download it again, or unpack it and pass the "
            "folder."
        )

    def _read(self, descriptor: int, file: File) -> bytes:
        if file.size_bytes > MAX_FILE_BYTES:
            raise DamagedFileError(
                f"{file.path}: has {file.size_bytes:,} bytes, but the maximum is {MAX_FILE_BYTES >> 20} MiB."
            )
        try:
            data = os.pread(descriptor, file.size_bytes, file.offset)
        except OSError as error:
            raise DataError(
                f"{self.name}: cannot be read any more ({error.strerror}). Run the command again."
            ) from None
        if len(data) < file.size_bytes:
            raise self._cut_short(file.path)
        return data

    def _cut_short(self, path: str) -> DataError:
        return DataError(f"{self.name}: ends before {path} does, because the archive is cut short. Download it again.")


def is_tar(begin: bytes, name: str) -> bool:
    """Return whether a file with these first 512 bytes is a tar archive, compressed or not."""
    return begin.startswith((_GZIP, _BZIP2)) or _is_plain(begin, name)


def is_compressed(begin: bytes) -> bool:
    """Return whether `unpack` has to unpack the archive with these first bytes."""
    return begin.startswith((_GZIP, _BZIP2))


def unpack(archive: Path, name: str, target: Path, progress: Callable[[Progress], None]) -> None:
    """Write the tar archive in a compressed one to `target`.

    Raises DataError if the archive is damaged, cut short, a decompression bomb, or not a tar archive.
    """
    packed_bytes = archive.stat().st_size
    maximum_bytes = max(MAX_SMALL_TOTAL_BYTES, MAX_RATIO * packed_bytes)
    try:
        with open(archive, "rb") as packed, open(target, "wb") as unpacked:
            stream = _decompressed(packed)
            written_bytes = 0
            while data := _some(stream, name):
                if not written_bytes and not _is_plain(data[:_BLOCK_BYTES], target.name):
                    raise DataError(
                        f"{name}: is compressed, but is not a tar archive. Pass a zip or tar archive, or a folder."
                    )
                written_bytes += len(data)
                if written_bytes > maximum_bytes:
                    raise bomb(name, f"its {packed_bytes:,} bytes unpack to more than {maximum_bytes:,}")
                unpacked.write(data)
                progress(Progress("unpacking", packed.tell(), packed_bytes, "bytes"))
    except OSError as error:
        raise EnvironmentFailure(
            f"{name}: cannot be unpacked to {target.parent} ({error.strerror or error}). Free some space there, or set "
            "TMPDIR to another folder."
        ) from None


def _some(stream: gzip.GzipFile | bz2.BZ2File, name: str) -> bytes:
    """Return the next bytes of a compressed archive, b"" at its end."""
    try:
        return stream.read(_READ_BYTES)
    except EOFError:
        raise DataError(f"{name}: ends too early, because the archive is cut short. Download it again.") from None
    except (zlib.error, gzip.BadGzipFile, ValueError) as error:
        raise DataError(f"{name}: cannot be unpacked, because it is damaged ({error}). Download it again.") from None
    except OSError as error:
        if error.errno is not None:  # of the disk; bz2 raises errors without a number for damaged data
            raise
        raise DataError(f"{name}: cannot be unpacked, because it is damaged ({error}). Download it again.") from None


def _decompressed(packed: BinaryIO) -> gzip.GzipFile | bz2.BZ2File:
    is_gzip = packed.read(2) == _GZIP
    packed.seek(0)
    return gzip.GzipFile(fileobj=packed) if is_gzip else bz2.BZ2File(packed)


def _is_plain(begin: bytes, name: str) -> bool:
    """Return whether the first block is that of a tar archive. Very old archives have no magic number."""
    if begin[_MAGIC_AT : _MAGIC_AT + len(_MAGIC)] == _MAGIC:
        return True
    if not name.lower().endswith(".tar") or len(begin) < _BLOCK_BYTES:
        return False
    with contextlib.suppress(tarfile.TarError):
        tarfile.TarInfo.frombuf(begin[:_BLOCK_BYTES], "utf-8", "surrogateescape")
        return True
    return False
