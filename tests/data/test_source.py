"""Bad input is refused with a sentence; good input is found wherever it lies."""

import struct
import unicodedata
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.data.images import Files, data_set, encode, pixels, write_folder, write_zip
from tuner.bucket import Bucket
from tuner.data.folder_source import FolderSource
from tuner.data.layout import find_layout, natural_key
from tuner.data.manifest import find_data_sets
from tuner.data.pack import pack
from tuner.data.source import File
from tuner.data.zip_directory import read_entries, trailing_bytes
from tuner.data.zip_source import ZipSource
from tuner.errors import DataError, ExitCode

ONE = "train/FAKE/0.png"


def refused(source: Path, bucket: Bucket) -> str:
    """Return the sentence with which packing is refused; nothing may look packed then."""
    with pytest.raises(DataError) as caught:
        pack(str(source), bucket)
    assert caught.value.exit_code is ExitCode.USAGE
    assert find_data_sets(bucket) == []
    return str(caught.value)


@pytest.fixture(params=["folder", "stored zip", "deflated zip"])
def form(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def write(form: str, tmp_path: Path, files: Files) -> Path:
    if form == "folder":
        return write_folder(tmp_path / "source", files)
    method = zipfile.ZIP_STORED if form == "stored zip" else zipfile.ZIP_DEFLATED
    return write_zip(tmp_path / "source.zip", files, method)


def test_a_source_that_is_not_there_is_refused(tmp_path: Path, bucket: Bucket) -> None:
    assert "no such file" in refused(tmp_path / "nothing.zip", bucket)


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


def test_classes_that_look_the_same_are_refused_and_told_apart_by_their_code_points(
    form: str, tmp_path: Path, bucket: Bucket
) -> None:
    composed, decomposed = unicodedata.normalize("NFC", "café"), unicodedata.normalize("NFD", "café")
    message = refused(write(form, tmp_path, data_set((composed, decomposed), 1, 1)), bucket)
    assert r"'caf\xe9'" in message
    assert r"'cafe\u0301'" in message
    assert "differ only in Unicode normalisation" in message


@pytest.mark.parametrize(
    ("train", "test", "says"),
    [("Cat", "cat", "differ only by case"), ("cafe\u0301", "caf\u00e9", "differ only in Unicode normalisation")],
)
def test_a_class_of_one_split_that_almost_matches_the_other_is_named_as_the_likely_cause(
    form: str, tmp_path: Path, bucket: Bucket, train: str, test: str, says: str
) -> None:
    both = data_set(("dog", train), 1, 1)
    mixed = {name if name.startswith("train") else name.replace(train, test): data for name, data in both.items()}
    message = refused(write(form, tmp_path, mixed), bucket)
    assert says in message
    assert "Rename one of the two folders" in message


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


def test_a_file_that_unpacks_to_more_than_any_image_is_a_bomb(tmp_path: Path, bucket: Bucket, files: Files) -> None:
    bomb = {**files, "train/REAL/9.png": bytes((64 << 20) + 1)}
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


def test_an_image_of_more_pixels_than_memory_is_refused_by_its_header(
    tmp_path: Path, bucket: Bucket, files: Files
) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0))
    bomb = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    message = refused(write_folder(tmp_path / "source", {**files, "train/REAL/9.png": bomb}), bucket)
    assert "60000 x 60000 pixels" in message


def test_an_encrypted_or_oddly_compressed_archive_is_refused(tmp_path: Path, bucket: Bucket, files: Files) -> None:
    path = write_zip(tmp_path / "archive.zip", files, zipfile.ZIP_LZMA)
    assert "method 14" in refused(path, bucket)
    path = write_zip(tmp_path / "archive.zip", files)
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    assert "encrypted" in refused(path, bucket)


def test_a_missing_split_is_refused(form: str, tmp_path: Path, bucket: Bucket, files: Files) -> None:
    train_only = {name: data for name, data in files.items() if name.startswith("train")}
    assert "no test/" in refused(write(form, tmp_path, train_only), bucket)


def test_a_source_without_splits_is_refused(form: str, tmp_path: Path, bucket: Bucket) -> None:
    assert "train/ and test/" in refused(write(form, tmp_path, {"a/b.png": encode(pixels(1))}), bucket)


def test_a_class_of_one_split_only_is_refused(form: str, tmp_path: Path, bucket: Bucket, files: Files) -> None:
    more = {**files, "train/OTHER/0.png": encode(pixels(99))}
    assert "OTHER is in train but not in test" in refused(write(form, tmp_path, more), bucket)


def test_a_missing_class_is_refused(form: str, tmp_path: Path, bucket: Bucket, files: Files) -> None:
    one = {name: data for name, data in files.items() if "REAL" not in name}
    assert "at least two" in refused(write(form, tmp_path, one), bucket)


def test_an_empty_class_is_refused_in_a_folder(tmp_path: Path, bucket: Bucket, files: Files) -> None:
    folder = write_folder(tmp_path / "source", files)
    for split in ("train", "test"):
        (folder / split / "NONE").mkdir()
    assert "NONE: the class is empty" in refused(folder, bucket)


def test_an_empty_class_is_refused_in_a_zip(tmp_path: Path, bucket: Bucket, files: Files) -> None:
    path = write_zip(
        tmp_path / "archive.zip", {**files, "train/NONE/": b"", "test/NONE/.DS_Store": b"x", "test/NONE/": b""}
    )
    assert "NONE: the class is empty" in refused(path, bucket)


def test_a_truncated_jpeg_is_refused_by_name(form: str, tmp_path: Path, bucket: Bucket, files: Files) -> None:
    jpeg = encode(pixels(5), "JPEG")
    message = refused(write(form, tmp_path, {**files, "train/REAL/7.jpg": jpeg[: len(jpeg) - 40]}), bucket)
    assert "train/REAL/7.jpg" in message
    assert "damaged JPEG" in message


def test_a_text_file_named_jpg_is_refused_by_name(form: str, tmp_path: Path, bucket: Bucket, files: Files) -> None:
    message = refused(write(form, tmp_path, {**files, "test/REAL/7.jpg": b"this is no image"}), bucket)
    assert message.startswith("test/REAL/7.jpg: is not an image")


def test_a_file_damaged_within_a_zip_is_refused_by_name(tmp_path: Path, bucket: Bucket, files: Files) -> None:
    path = write_zip(tmp_path / "archive.zip", files)
    data = bytearray(path.read_bytes())
    data[data.index(files[ONE]) + len(files[ONE]) // 2] ^= 0xFF
    path.write_bytes(data)
    message = refused(path, bucket)
    assert message.startswith(ONE)
    assert "its size or CRC-32 differs" in message


def test_mixed_sizes_are_refused_with_the_odd_ones_name(
    form: str, tmp_path: Path, bucket: Bucket, files: Files
) -> None:
    message = refused(write(form, tmp_path, {**files, "test/FAKE/7.png": encode(pixels(7, 9, 10))}), bucket)
    assert message.startswith("test/FAKE/7.png: is 9x10, but most images are 8x8")
    assert "--resize 8x8" in message


@pytest.mark.parametrize("mode", ["L", "RGBA", "P"])
def test_other_modes_are_refused_unless_converted(tmp_path: Path, bucket: Bucket, files: Files, mode: str) -> None:
    folder = write_folder(tmp_path / "source", {**files, "test/FAKE/7.png": encode(pixels(7), mode=mode)})
    message = refused(folder, bucket)
    assert f"test/FAKE/7.png: has mode {mode} instead of RGB" in message
    assert "--convert" in message
    assert pack(str(folder), bucket, convert=True).splits["test"].counts == (4, 3)


def test_files_beside_and_below_the_classes_are_refused(tmp_path: Path, bucket: Bucket, files: Files) -> None:
    beside = write_folder(tmp_path / "beside", {**files, "train/1.png": b"x"})
    assert "beside the class folders" in refused(beside, bucket)
    below = write_folder(tmp_path / "below", {**files, "train/REAL/more/1.png": b"x"})
    assert "within a class" in refused(below, bucket)


def test_two_roots_are_ambiguous(form: str, tmp_path: Path, bucket: Bucket, files: Files) -> None:
    twice = {f"{root}/{name}": data for root in ("a", "b/c") for name, data in files.items()}
    message = refused(write(form, tmp_path, twice), bucket)
    assert "'a', 'b/c'" in message


@pytest.mark.parametrize("root", ["", "DATASET/", "some-repository-1234/DATASET/"])
def test_the_root_is_found_at_any_depth(form: str, tmp_path: Path, bucket: Bucket, files: Files, root: str) -> None:
    deeper = {f"{root}{name}": data for name, data in files.items()}
    deeper |= {"README.md": b"hello", "some-repository-1234/LICENSE": b"MIT"}
    assert pack(str(write(form, tmp_path, deeper)), bucket).splits["train"].counts == (6, 6)


def test_what_operating_systems_leave_behind_is_skipped(
    form: str, tmp_path: Path, bucket: Bucket, files: Files
) -> None:
    junk = ["__MACOSX/train/REAL/._0.png", "train/.DS_Store", "test/REAL/Thumbs.db", "train/FAKE/._0.png", ".git/x"]
    littered = write(form, tmp_path, {**files, **dict.fromkeys(junk, b"junk")})
    assert pack(str(littered), bucket).splits["test"].counts == (3, 3)


def test_a_folder_with_a_link_to_itself_is_listed_once(tmp_path: Path, files: Files) -> None:
    folder = write_folder(tmp_path / "source", files)
    (folder / "train" / "REAL" / "loop").symlink_to(folder)
    assert len(FolderSource(folder).entries().files) == len(files)


def test_names_sort_by_their_numbers() -> None:
    names = ["10.jpg", "9 (10).jpg", "9.jpg", "9 (2).jpg", "0010 (2).jpg", "x.jpg"]
    ordered = sorted((File(name, 0) for name in names), key=natural_key)
    assert [file.path for file in ordered] == ["9.jpg", "9 (2).jpg", "9 (10).jpg", "10.jpg", "0010 (2).jpg", "x.jpg"]


def test_a_layout_is_in_natural_order_class_by_class(tmp_path: Path, files: Files) -> None:
    shuffled = dict(sorted(files.items(), reverse=True))
    layout = find_layout(ZipSource(write_zip(tmp_path / "a.zip", shuffled)).entries(), "a.zip")
    assert [layout.image_name(file) for file in layout.files("test")] == [
        *("FAKE/0.png", "FAKE/0 (2).png", "FAKE/1.png"),
        *("REAL/0.png", "REAL/0 (2).png", "REAL/1.png"),
    ]


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
