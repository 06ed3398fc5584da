"""Tar archives: the same images as a folder, and what is refused."""

import bz2
import gzip
import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.data.images import Files, write_folder
from tests.data.refusals import refused
from tuner.bucket import Bucket, open_bucket
from tuner.data import tar_source
from tuner.data.pack import pack


def tar(files: Files, prefix: str = "", format: int = tarfile.PAX_FORMAT) -> bytes:  # noqa: A002
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=format) as archive:
        for name, data in files.items():
            add(archive, f"{prefix}{name}", data)
    return stream.getvalue()


def add(archive: tarfile.TarFile, name: str, data: bytes = b"", kind: bytes = tarfile.REGTYPE, link: str = "") -> None:
    member = tarfile.TarInfo(name)
    member.size, member.type, member.linkname = len(data), kind, link
    archive.addfile(member, io.BytesIO(data))


def with_member(files: Files, name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> bytes:
    stream = io.BytesIO(tar(files))
    with tarfile.open(fileobj=stream, mode="a") as archive:
        add(archive, name, kind=kind, link=link)
    return stream.getvalue()


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("prefix", ["", "./", f"{'x' * 60}/{'y' * 60}/"])
@pytest.mark.parametrize("compress", [bytes, gzip.compress, bz2.compress])
def test_an_archive_is_the_same_data_set_as_the_folder(
    tmp_path: Path,
    bucket: Bucket,
    files: Files,
    format: int,  # noqa: A002
    prefix: str,
    compress: Callable[[bytes], bytes],
) -> None:
    expected = pack(str(write_folder(tmp_path / "source", files)), bucket)
    junk = {"__MACOSX/._a.png": b"x", "train/REAL/.DS_Store": b"x"}
    path = write(tmp_path / "archive", compress(tar({**files, **junk}, prefix, format)))
    manifest = pack(str(path), bucket)
    assert manifest.digest == expected.digest
    assert manifest.warnings == ()


@pytest.mark.parametrize("compress", [bytes, gzip.compress])
def test_processes_read_an_archive_as_one_does(
    tmp_path: Path, bucket: Bucket, files: Files, monkeypatch: pytest.MonkeyPatch, compress: Callable[[bytes], bytes]
) -> None:
    alone = pack(str(write_folder(tmp_path / "source", files)), bucket)
    monkeypatch.setattr("tuner.data.processes.ALONE_FILES", 1)
    path = write(tmp_path / "archive.tar", compress(tar(files)))
    assert pack(str(path), open_bucket(str(tmp_path / "other"))).digest == alone.digest


@pytest.mark.parametrize(
    ("name", "kind", "link", "says"),
    [
        ("../../outside.png", tarfile.REGTYPE, "", "is not a safe relative path"),
        ("/etc/outside.png", tarfile.REGTYPE, "", "is not a safe relative path"),
        ("train/REAL/../../../x.png", tarfile.REGTYPE, "", "is not a safe relative path"),
        ("train/REAL/x.png", tarfile.SYMTYPE, "/etc/passwd", "train/REAL/x.png is a link"),
        ("train/REAL/x.png", tarfile.LNKTYPE, "train/REAL/0.png", "train/REAL/x.png is a link"),
        ("train/REAL/x.png", tarfile.CHRTYPE, "", "is not a regular file"),
        ("train/REAL/x.png", tarfile.BLKTYPE, "", "is not a regular file"),
        ("train/REAL/x.png", tarfile.FIFOTYPE, "", "is not a regular file"),
        ("train/REAL/0.png", tarfile.REGTYPE, "", "is in the archive twice"),
    ],
)
def test_what_no_image_archive_has_is_refused(
    tmp_path: Path, bucket: Bucket, files: Files, name: str, kind: bytes, link: str, says: str
) -> None:
    message = refused(write(tmp_path / "archive.tar", with_member(files, name, kind, link)), bucket)
    assert says in message
    assert message.startswith("archive.tar: ")


def test_an_archive_that_is_cut_short_is_refused(tmp_path: Path, bucket: Bucket, files: Files) -> None:
    whole = tar(files)
    packed = gzip.compress(whole)
    for name, data in (
        ("a.tar", whole[: len(whole) // 2]),
        ("b.tar", whole[:700]),
        ("c.tar.gz", packed[: len(packed) // 2]),
        ("d.tar.gz", packed[:-4]),
        ("between files.tar", whole[: whole.index(b"test/FAKE/0.png")]),
        ("e.tar.gz", gzip.compress(whole[: len(whole) // 2])),
    ):
        message = refused(write(tmp_path / name, data), bucket)
        assert "cut short" in message, name
        assert message.startswith(f"{name}: ")


def test_a_damaged_archive_is_refused(tmp_path: Path, bucket: Bucket, files: Files) -> None:
    """Python's tarfile takes a damaged header for the end of the archive, so that images would be missing."""
    whole = tar(files, format=tarfile.USTAR_FORMAT)
    header = whole.index(b"test/FAKE/0.png\0")
    damaged = whole[: header + 148] + b"7777777\0" + whole[header + 156 :]
    assert "damaged" in refused(write(tmp_path / "a.tar", damaged), bucket)
    assert "behind the end of its files" in refused(write(tmp_path / "b.tar", whole + whole), bucket)
    packed = bytearray(gzip.compress(whole))
    packed[len(packed) // 2] ^= 0xFF
    assert "it is damaged" in refused(write(tmp_path / "c.tar.gz", bytes(packed)), bucket)
    assert "not a tar archive" in refused(write(tmp_path / "d.gz", gzip.compress(b"text" * 1000)), bucket)


def test_bombs_are_refused(tmp_path: Path, bucket: Bucket, files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tar_source, "MAX_SMALL_TOTAL_BYTES", 1 << 20)
    bomb = gzip.compress(tar({**files, "train/REAL/9.png": bytes(40 << 20)}))
    assert "decompression bomb" in refused(write(tmp_path / "a.tar.gz", bomb), bucket)
    header = tarfile.TarInfo("x")
    header.size, header.type = 1 << 40, tarfile.XHDTYPE
    huge = header.tobuf(tarfile.GNU_FORMAT) + bytes(2 << 20)
    assert "a header claims" in refused(write(tmp_path / "b.tar", huge), bucket)
    monkeypatch.setattr("tuner.data.tar_source.MAX_FILE_BYTES", 10_000)
    large = tar({**files, "train/REAL/9.png": bytes(10_001)})
    assert "train/REAL/9.png: has 10,001 bytes" in refused(write(tmp_path / "c.tar", large), bucket)


@pytest.mark.parametrize(
    ("begin", "kind"), [(b"7z\xbc\xaf\x27\x1c", "7z"), (b"Rar!\x1a\x07\1\0", "RAR"), (b"\xfd7zXZ\0", "xz")]
)
def test_other_archives_are_named(tmp_path: Path, bucket: Bucket, begin: bytes, kind: str) -> None:
    message = refused(write(tmp_path / "archive", begin + bytes(600)), bucket)
    assert f"archive: is a{'n' if kind == 'xz' else ''} {kind} archive, which is not supported" in message


def test_a_compressed_archive_in_a_bucket_is_read(tmp_path: Path, bucket: Bucket, files: Files, gcs_url: str) -> None:
    open_bucket(gcs_url).write("some/pets.tar.gz", gzip.compress(tar(files)))
    manifest = pack(f"{gcs_url}/some/pets.tar.gz", bucket)
    assert manifest.source == "pets.tar.gz"
    assert manifest.digest == pack(str(write_folder(tmp_path / "source", files)), bucket).digest
