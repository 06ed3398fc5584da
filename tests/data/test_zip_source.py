"""Zip archives as they are: cut, joined, continued, encrypted, hostile, or from other programs."""

import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.data.images import Files, data_set, write_zip
from tests.data.refusals import refused
from tuner.bucket import Bucket
from tuner.data.pack import pack
from tuner.data.source import MAX_FILE_BYTES
from tuner.data.zip_directory import read_entries, trailing_bytes
from tuner.data.zip_source import ZipSource

ONE = "train/FAKE/0.png"


def test_a_file_that_is_no_zip_is_refused(tmp_path: Path, bucket: Bucket) -> None:
    path = tmp_path / "archive.zip"
    path.write_bytes(b"<!doctype html><title>Sign in</title>" * 100)
    assert "not a zip" in refused(path, bucket)
    path.write_bytes(b"")
    assert "not a zip" in refused(path, bucket)


@pytest.mark.parametrize("kept", [0.3, 0.9, 0.999])
def test_a_truncated_zip_is_refused(tmp_path: Path, bucket: Bucket, files: Files, kept: float) -> None:
    whole = write_zip(tmp_path / "archive.zip", files).read_bytes()
    (tmp_path / "archive.zip").write_bytes(whole[: int(len(whole) * kept)])
    assert "cut short" in refused(tmp_path / "archive.zip", bucket)


def test_bytes_that_follow_an_archive_are_counted_and_can_be_removed_by_the_command_given(
    tmp_path: Path, bucket: Bucket, files: Files
) -> None:
    path = write_zip(tmp_path / "archive.zip", files)
    whole = path.read_bytes()
    path.write_bytes(whole + bytes(3_000_000))
    message = refused(path, bucket)
    assert "3,000,000 bytes follow the end of the archive" in message
    assert f"head -c {len(whole)} " in message
    assert "cut short" not in message
    path.write_bytes(path.read_bytes()[: len(whole)])
    assert pack(str(path), bucket).splits["test"].counts == (3, 3)


def test_a_name_that_claims_to_be_utf_8_is_refused_with_its_bytes(tmp_path: Path, bucket: Bucket, files: Files) -> None:
    path = write_zip(tmp_path / "archive.zip", {**files, "train/REAL/é.png": files[ONE]})
    path.write_bytes(path.read_bytes().replace("é".encode(), b"\xff\xfe"))
    message = refused(path, bucket)
    assert r"b'train/REAL/\xff\xfe.png' is marked as UTF-8, but is not valid UTF-8" in message
    assert "cut short" not in message


def test_names_in_utf_8_are_read_without_their_flag(tmp_path: Path, bucket: Bucket) -> None:
    """Some programs, such as older versions of `zip`, do not set it."""
    path = write_zip(tmp_path / "archive.zip", data_set(("café", "tea"), 1, 1))
    data = bytearray(path.read_bytes())
    for signature, flags_at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = data.find(signature)
        while at >= 0:
            data[at + flags_at + 1] &= ~0x08
            at = data.find(signature, at + 1)
    path.write_bytes(data)
    with zipfile.ZipFile(path) as archive:
        assert any("caf├⌐" in name for name in archive.namelist())
    assert pack(str(path), bucket).classes == ("café", "tea")


def test_the_signature_of_an_end_may_occur_after_the_end(tmp_path: Path, bucket: Bucket, files: Files) -> None:
    path = write_zip(tmp_path / "archive.zip", files)
    extra = b"\nPK\x05\x06 is how an archive's last record begins"
    path.write_bytes(path.read_bytes() + extra)
    assert pack(str(path), bucket).splits["test"].counts == (3, 3)
    assert trailing_bytes(path) == len(extra)


def as_last_part(data: bytes) -> bytes:
    """The last part of an archive: its end record has the number of the part."""
    at = data.rindex(b"PK\x05\x06")
    return data[:at] + b"PK\x05\x06" + struct.pack("<2H", 2, 2) + data[at + 8 :]


@pytest.mark.parametrize(
    ("name", "part", "remedy"),
    [
        ("a.z01", lambda data: b"PK\x07\x08" + data[: len(data) // 2], "zip -s 0"),
        ("a.z02", lambda data: data[len(data) // 3 : len(data) // 2], "zip -s 0"),
        ("a.zip", lambda data: as_last_part(data[len(data) // 2 :]), "zip -s 0"),
        ("a.zip.001", lambda data: data[: len(data) // 2], "cat NAME.zip.* > NAME.zip"),
        ("a.zip.002", lambda data: data[len(data) - 300 :], "cat NAME.zip.* > NAME.zip"),
    ],
)
def test_a_part_of_an_archive_is_refused_with_the_command_that_joins_the_parts(
    tmp_path: Path, bucket: Bucket, files: Files, name: str, part: Callable[[bytes], bytes], remedy: str
) -> None:
    whole = write_zip(tmp_path / "whole.zip", files).read_bytes()
    (tmp_path / name).write_bytes(part(whole))
    message = refused(tmp_path / name, bucket)
    assert "it is one part of a" in message
    assert remedy in message
    assert "cut short" not in message


def test_a_zip_that_lacks_its_beginning_is_refused(tmp_path: Path, bucket: Bucket, files: Files) -> None:
    whole = write_zip(tmp_path / "archive.zip", files).read_bytes()
    (tmp_path / "archive.zip").write_bytes(whole[100:])
    refused(tmp_path / "archive.zip", bucket)


@pytest.mark.parametrize("name", ["../outside.png", "/etc/outside.png", "train/../../outside.png", "C:\\outside.png"])
def test_a_name_that_points_out_of_the_archive_is_refused(
    tmp_path: Path, bucket: Bucket, files: Files, name: str
) -> None:
    message = refused(write_zip(tmp_path / "archive.zip", {**files, name: b"x"}), bucket)
    assert "is not a safe relative path" in message
    assert repr(name) in message


def test_a_file_that_unpacks_to_more_than_any_image_is_a_bomb(
    tmp_path: Path, bucket: Bucket, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert MAX_FILE_BYTES == 512 << 20
    monkeypatch.setattr("tuner.data.zip_source.MAX_FILE_BYTES", 10_000)
    bomb = {**files, "train/REAL/9.png": bytes(10_001)}
    assert "bomb" in refused(write_zip(tmp_path / "archive.zip", bomb, zipfile.ZIP_DEFLATED), bucket)


def test_an_archive_that_unpacks_to_far_more_than_its_size_is_a_bomb(
    tmp_path: Path, bucket: Bucket, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tuner.data.zip_source.MAX_SMALL_TOTAL_BYTES", 1 << 20)
    bomb = {**files, **{f"train/REAL/{number}.png": bytes(1 << 20) for number in range(10, 28)}}
    assert "bomb" in refused(write_zip(tmp_path / "archive.zip", bomb, zipfile.ZIP_DEFLATED), bucket)


def test_a_file_that_unpacks_to_more_than_it_declares_is_refused_unread(
    tmp_path: Path, bucket: Bucket, files: Files
) -> None:
    path = write_zip(tmp_path / "archive.zip", {**files, "train/REAL/9.png": bytes(50_000_000)}, zipfile.ZIP_DEFLATED)
    data = path.read_bytes()
    lie = data.replace(struct.pack("<I", 50_000_000), struct.pack("<I", 1000))
    assert lie != data
    path.write_bytes(lie)
    assert "its size or CRC-32 differs" in refused(path, bucket)


def test_an_encrypted_or_oddly_compressed_archive_is_refused(tmp_path: Path, bucket: Bucket, files: Files) -> None:
    path = write_zip(tmp_path / "archive.zip", files, zipfile.ZIP_LZMA)
    assert "method 14" in refused(path, bucket)
    path = write_zip(tmp_path / "archive.zip", files)
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    assert "encrypted" in refused(path, bucket)


def test_a_file_damaged_within_a_zip_is_refused_by_name(tmp_path: Path, bucket: Bucket, files: Files) -> None:
    path = write_zip(tmp_path / "archive.zip", files)
    data = bytearray(path.read_bytes())
    data[data.index(files[ONE]) + len(files[ONE]) // 2] ^= 0xFF
    path.write_bytes(data)
    message = refused(path, bucket)
    assert message.startswith(ONE)
    assert "its size or CRC-32 differs" in message


def _archives(tmp_path: Path, files: Files) -> dict[str, Path]:
    """Archives as different tools make them."""
    archives = {
        "stored": write_zip(tmp_path / "stored.zip", files),
        "deflated": write_zip(tmp_path / "deflated.zip", files, zipfile.ZIP_DEFLATED),
        "prefixed": tmp_path / "prefixed.zip",
        "commented": tmp_path / "commented.zip",
        "streamed": tmp_path / "streamed.zip",
        "zip64": tmp_path / "zip64.zip",
        "unicode": write_zip(tmp_path / "unicode.zip", {f"é{name}": data for name, data in files.items()}),
    }
    archives["prefixed"].write_bytes(b"#!/bin/sh\nexit\n" + archives["stored"].read_bytes())
    with zipfile.ZipFile(archives["commented"], "w") as archive:
        archive.comment = b"e112a942abaecd02b6b1f6f646c807d56be8fb62"
        for name, data in files.items():
            archive.writestr(name, data)
    with open(archives["streamed"], "wb") as raw, zipfile.ZipFile(_Unseekable(raw), "w") as archive:  # type: ignore[call-overload]
        for name, data in files.items():
            archive.writestr(name, data)
    with zipfile.ZipFile(archives["zip64"], "w") as archive:
        for name, data in files.items():
            with archive.open(name, "w", force_zip64=True) as member:
                member.write(data)
    return archives


class _Unseekable:
    """What zipfile takes for a pipe: it then puts sizes and CRC behind each file."""

    def __init__(self, stream: object) -> None:
        self.write = stream.write  # type: ignore[attr-defined]
        self.flush = stream.flush  # type: ignore[attr-defined]


def test_the_directory_is_read_as_zipfile_reads_it(tmp_path: Path, files: Files) -> None:
    for kind, path in _archives(tmp_path, files).items():
        with zipfile.ZipFile(path) as archive:
            expected = [
                (i.filename, i.flag_bits, i.compress_type, i.CRC, i.compress_size, i.file_size, i.header_offset)
                for i in archive.infolist()
            ]
            contents = {name: archive.read(name) for name in archive.namelist()}
        assert list(read_entries(path)) == expected, kind
        source = ZipSource(path)
        with source.reader() as read:
            assert {file.path: read(file) for file in source.entries().files} == contents, kind


def test_zip64_numbers_are_read_where_32_bits_are_marked_as_too_few(tmp_path: Path, files: Files) -> None:
    """An archive above 4 GiB, without 4 GiB: zipfile is told that everything is too large."""
    path = tmp_path / "large.zip"
    limit = zipfile.ZIP64_LIMIT
    zipfile.ZIP64_LIMIT = 10  # type: ignore[misc]
    try:
        write_zip(path, files)
    finally:
        zipfile.ZIP64_LIMIT = limit  # type: ignore[misc]
    assert b"PK\x06\x06" in path.read_bytes()
    source = ZipSource(path)
    with source.reader() as read:
        assert {file.path: read(file) for file in source.entries().files} == files
