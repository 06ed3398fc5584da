"""A zip archive as a source. Each file is read by a single `pread`.

For CIFAKE's 120,000 small files, this takes 0.3 s, compared with 2.3 s for Python's zipfile. The archive is not mapped
into memory, because a file that shrinks while it is mapped kills the process.
"""

import os
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tuner.data.archive_file import ArchiveFile
from tuner.data.source import (
    MAX_FILE_BYTES,
    MAX_RATIO,
    MAX_SMALL_TOTAL_BYTES,
    DamagedFileError,
    Entries,
    File,
    bomb,
    is_junk,
    safe_path,
)
from tuner.data.zip_directory import Entry, UnreadableZipError, ZipDirectoryError, read_entries, trailing_bytes
from tuner.errors import DataError

_HEADER = struct.Struct("<4s22xHH")  # local file header: signature, …, length of the name, length of the extra field
_ENCRYPTED = 0x1
_STORED, _DEFLATED = 0, 8
_EXTRA_BYTES = 64  # read a little more, because the local extra field may be longer than the directory's


@dataclass(frozen=True)
class ZipSource(ArchiveFile):
    """A local zip archive. Its files must be stored or deflated."""

    small_image_bytes = 1000

    def entries(self) -> Entries:
        """Read the archive's directory. No file is unpacked."""
        files, folders, total_bytes = [], set(), 0
        size_bytes = self.path.stat().st_size if self.path.exists() else 0
        paths: set[str] = set()
        for name, flags, method, crc, packed_bytes, file_bytes, offset in self._directory():
            path = safe_path(name, self.name)
            if not path or is_junk(path):
                continue
            if path.endswith("/"):
                folders.add(path[:-1])
                continue
            if flags & _ENCRYPTED:
                raise DataError(f"{self.name}: {path} is encrypted. Unpack the archive, and pass the folder.")
            if method not in (_STORED, _DEFLATED):
                raise DataError(
                    f"{self.name}: {path} is compressed by method {method}, but only stored and deflated files can "
                    "be read. Unpack the archive, and pass the folder."
                )
            if path in paths:
                raise DataError(f"{self.name}: {path} is in the archive twice. Remove one of the two files.")
            paths.add(path)
            if file_bytes > MAX_FILE_BYTES:
                raise bomb(
                    self.name,
                    f"{path} would unpack to {file_bytes:,} bytes, but the maximum is {MAX_FILE_BYTES >> 20} MiB",
                )
            if offset + packed_bytes > size_bytes:
                raise DataError(
                    f"{self.name}: {path} lies beyond the archive's end, because the archive is cut short. "
                    "Download it again."
                )
            total_bytes += file_bytes
            files.append(File(path, file_bytes, offset, packed_bytes, method, crc))
        if total_bytes > max(MAX_SMALL_TOTAL_BYTES, MAX_RATIO * size_bytes):
            raise bomb(self.name, f"its {size_bytes:,} bytes would unpack to {total_bytes:,}")
        extra = trailing_bytes(self.path) if files else 0
        warnings = (f"{extra:,} bytes follow the end of {self.name} and are ignored.",) if extra else ()
        return Entries(tuple(files), frozenset(folders), warnings)

    @contextmanager
    def reader(self) -> Iterator[Callable[[File], bytes]]:
        """Yield a function that reads a file and verifies its size and CRC-32."""
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

    def _directory(self) -> Iterator[Entry]:
        try:
            yield from read_entries(self.path)
        except OSError as error:
            raise DataError(f"{self.name}: cannot be read ({error.strerror}). Make the file readable.") from None
        except UnreadableZipError as error:
            raise DataError(f"{self.name}: {error}.") from None
        except ZipDirectoryError as error:
            with open(self.path, "rb") as stream:
                begins_as_zip = stream.read(4) == b"PK\x03\x04"
            if begins_as_zip:
                raise DataError(
                    f"{self.name}: the directory at the end of the archive is missing or damaged ({error}), probably "
                    "because the archive is cut short. Download it again."
                ) from None
            raise DataError(
                f"{self.name}: is not a zip archive. Pass the downloaded archive, or the folder unpacked from it."
            ) from None

    def _read(self, descriptor: int, file: File) -> bytes:
        guess_bytes = _HEADER.size + len(file.path) * 4 + _EXTRA_BYTES + file.packed_bytes
        try:
            raw = os.pread(descriptor, guess_bytes, file.offset)
            if len(raw) < _HEADER.size:
                raise self._cut_short(file)
            signature, name_bytes, extra_bytes = _HEADER.unpack_from(raw)
            if signature != b"PK\x03\x04":
                raise DamagedFileError(
                    f"{file.path}: the archive has no file at the position that its directory gives."
                )
            start = _HEADER.size + name_bytes + extra_bytes
            if start + file.packed_bytes > len(raw):
                raw = os.pread(descriptor, start + file.packed_bytes, file.offset)
        except OSError as error:
            raise DataError(
                f"{self.name}: cannot be read any more ({error.strerror}). Run the command again."
            ) from None
        packed = raw[start : start + file.packed_bytes]
        if len(packed) < file.packed_bytes:
            raise self._cut_short(file)
        data = packed if file.method == _STORED else self._inflate(file, packed)
        if len(data) != file.size_bytes or zlib.crc32(data) != file.crc:
            raise DamagedFileError(f"{file.path}: its size or CRC-32 differs from the archive's directory.")
        return data

    def _inflate(self, file: File, packed: bytes) -> bytes:
        """Unpack at most one byte more than the declared size, so that a decompression bomb stays small."""
        try:
            return zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed, file.size_bytes + 1)
        except zlib.error as error:
            raise DamagedFileError(f"{file.path}: cannot be unpacked ({error}).") from None

    def _cut_short(self, file: File) -> DataError:
        return DataError(
            f"{self.name}: ends before {file.path} does, because the archive is cut short. Download it again."
        )
