"""A zip archive as a source; each file is read by one positioned read.

zipfile's reading takes 2.3 s for CIFAKE's 120,000 small files, one `pread` each 0.3 s. No mmap: a file that
shrinks under a mapping kills the process.
"""

import contextlib
import os
import re
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tuner.data.source import MAX_FILE_BYTES, DamagedFileError, Entries, File, is_junk
from tuner.data.zip_directory import Entry, ZipDirectoryError, read_entries
from tuner.errors import DataError

MAX_RATIO = 100
"""Images are already compressed: an archive that unpacks to more than this many times its size is a bomb …"""
MAX_SMALL_TOTAL_BYTES = 1 << 30
"""… unless its unpacked total is smaller than this."""

_HEADER = struct.Struct("<4s22xHH")  # local file header: signature, …, length of the name, length of the extra field
_SMALL_IMAGE_BYTES = 1000
_ENCRYPTED = 0x1
_STORED, _DEFLATED = 0, 8
_UNUSUAL = re.compile(r"[\\:\0]|//|^[/.]|/\.")
_EXTRA_BYTES = 64  # the local extra field may be longer than the directory's; read a little more


@dataclass(frozen=True)
class ZipSource:
    """A zip archive on this machine, files stored or deflated."""

    path: Path
    label: str = ""

    @property
    def name(self) -> str:
        """The archive's own name."""
        return self.label or self.path.name

    def likely_files(self) -> int:
        """Estimate from the archive's size, as if its images were as small as CIFAKE's."""
        with contextlib.suppress(OSError):
            return self.path.stat().st_size // _SMALL_IMAGE_BYTES
        return 0

    def entries(self) -> Entries:
        """Read the archive's directory; nothing is unpacked."""
        files, folders, total_bytes = [], set(), 0
        size_bytes = self.path.stat().st_size if self.path.exists() else 0
        paths: set[str] = set()
        for name, flags, method, crc, packed_bytes, file_bytes, offset in self._directory():
            path = name if not _UNUSUAL.search(name) else self._safe(name)
            if not path or is_junk(path):
                continue
            if path.endswith("/"):
                folders.add(path[:-1])
                continue
            if flags & _ENCRYPTED:
                raise DataError(f"{self.name}: {path} is encrypted; unpack the archive and pass the folder.")
            if method not in (_STORED, _DEFLATED):
                raise DataError(
                    f"{self.name}: {path} is compressed by method {method}, but only stored and deflated files can "
                    "be read; unpack the archive and pass the folder."
                )
            if path in paths:
                raise DataError(f"{self.name}: {path} is in the archive twice; each name must be unique.")
            paths.add(path)
            if file_bytes > MAX_FILE_BYTES:
                raise self._bomb(f"{path} would unpack to {file_bytes:,} bytes; no image may exceed 64 MiB")
            if offset + packed_bytes > size_bytes:
                raise DataError(
                    f"{self.name}: {path} lies beyond the archive's end: the file is cut short; download it again."
                )
            total_bytes += file_bytes
            files.append(File(path, file_bytes, offset, packed_bytes, method, crc))
        if total_bytes > max(MAX_SMALL_TOTAL_BYTES, MAX_RATIO * size_bytes):
            raise self._bomb(f"its {size_bytes:,} bytes would unpack to {total_bytes:,}")
        return Entries(tuple(files), frozenset(folders))

    @contextmanager
    def reader(self) -> Iterator[Callable[[File], bytes]]:
        """Read files by their position in the archive, checked against size and CRC-32."""
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise DataError(f"{self.name}: disappeared while it was being read ({error.strerror}).") from None
        try:
            yield lambda file: self._read(descriptor, file)
        finally:
            os.close(descriptor)

    def _directory(self) -> Iterator[Entry]:
        try:
            yield from read_entries(self.path)
        except OSError as error:
            raise DataError(f"{self.name}: cannot be read ({error.strerror}).") from None
        except ZipDirectoryError as error:
            with open(self.path, "rb") as stream:
                begins_as_zip = stream.read(4) == b"PK\x03\x04"
            if begins_as_zip:
                raise DataError(
                    f"{self.name}: begins as a zip but its directory, at the end, is missing or damaged ({error}): the "
                    "file is cut short; download it again."
                ) from None
            raise DataError(
                f"{self.name}: is not a zip archive; pass the archive as downloaded, or the folder unpacked from it."
            ) from None

    def _safe(self, name: str) -> str:
        """Return an unusual name in a plain form. Raises DataError if it points out of the archive."""
        parts = name.replace("\\", "/").split("/")
        if ".." in parts or not parts[0] or parts[0].endswith(":") or "\0" in name:
            raise DataError(f"{self.name}: the name {name!r} points out of the archive; do not trust this file.")
        plain = "/".join(part for part in parts if part not in ("", "."))
        return f"{plain}/" if plain and not parts[-1] else plain

    def _bomb(self, why: str) -> DataError:
        return DataError(f"{self.name}: {why}, a decompression bomb; do not trust this file.")

    def _read(self, descriptor: int, file: File) -> bytes:
        guess_bytes = _HEADER.size + len(file.path) * 4 + _EXTRA_BYTES + file.packed_bytes
        try:
            raw = os.pread(descriptor, guess_bytes, file.offset)
            if len(raw) < _HEADER.size:
                raise self._cut_short(file)
            signature, name_bytes, extra_bytes = _HEADER.unpack_from(raw)
            if signature != b"PK\x03\x04":
                raise DamagedFileError(f"{file.path}: the archive has no file where its directory says.")
            start = _HEADER.size + name_bytes + extra_bytes
            if start + file.packed_bytes > len(raw):
                raw = os.pread(descriptor, start + file.packed_bytes, file.offset)
        except OSError as error:
            raise DataError(f"{self.name}: cannot be read any more ({error.strerror}).") from None
        packed = raw[start : start + file.packed_bytes]
        if len(packed) < file.packed_bytes:
            raise self._cut_short(file)
        data = packed if file.method == _STORED else self._inflate(file, packed)
        if len(data) != file.size_bytes or zlib.crc32(data) != file.crc:
            raise DamagedFileError(f"{file.path}: its bytes are not those that the archive's directory promises.")
        return data

    def _inflate(self, file: File, packed: bytes) -> bytes:
        """Unpack at most one byte more than was declared: a bomb cannot grow."""
        try:
            return zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed, file.size_bytes + 1)
        except zlib.error as error:
            raise DamagedFileError(f"{file.path}: cannot be unpacked ({error}).") from None

    def _cut_short(self, file: File) -> DataError:
        return DataError(f"{self.name}: ends before {file.path} does; the archive is cut short; download it again.")
