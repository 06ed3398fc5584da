"""Bad input is refused with a sentence; good input is found wherever it lies."""

import struct
import unicodedata
import zipfile
import zlib
from pathlib import Path

import pytest

from tests.data.images import Files, data_set, encode, pixels, write_folder, write_zip
from tests.data.refusals import refused
from tuner.bucket import Bucket
from tuner.data.folder_layout import find_layout
from tuner.data.folder_source import FolderSource
from tuner.data.layout import natural_key
from tuner.data.pack import pack
from tuner.data.source import File
from tuner.data.zip_source import ZipSource

ONE = "train/FAKE/0.png"


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


def test_an_image_of_more_pixels_than_memory_is_refused_by_its_header(
    tmp_path: Path, bucket: Bucket, files: Files
) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0))
    bomb = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    message = refused(write_folder(tmp_path / "source", {**files, "train/REAL/9.png": bomb}), bucket)
    assert "60000 x 60000 pixels" in message


def test_a_source_without_training_images_is_refused(form: str, tmp_path: Path, bucket: Bucket, files: Files) -> None:
    test_only = {name: data for name, data in files.items() if name.startswith("test")}
    assert "has test/ but no train/" in refused(write(form, tmp_path, test_only), bucket)


def test_a_source_without_classes_is_refused(form: str, tmp_path: Path, bucket: Bucket) -> None:
    message = refused(write(form, tmp_path, {"b.png": encode(pixels(1))}), bucket)
    assert "directly, without folders of classes" in message
    assert "train/ and test/" in message


def test_a_source_with_one_class_is_refused(form: str, tmp_path: Path, bucket: Bucket) -> None:
    assert "only one class (a)" in refused(write(form, tmp_path, {"a/b.png": encode(pixels(1))}), bucket)


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


def test_mixed_sizes_are_refused_with_the_odd_ones_name(
    form: str, tmp_path: Path, bucket: Bucket, files: Files
) -> None:
    message = refused(write(form, tmp_path, {**files, "test/FAKE/7.png": encode(pixels(7, 9, 10))}), bucket)
    assert message.startswith("test/FAKE/7.png: is 9x10, but most images are 8x8")
    assert "--resize 8x8" in message


def test_no_size_is_called_that_of_most_images_if_it_is_not(tmp_path: Path, bucket: Bucket) -> None:
    files = {
        f"{split}/{name}/{number}.png": encode(pixels(number, 8, 8 + number % 4))
        for split in ("train", "test")
        for name in ("CAT", "DOG")
        for number in range(5)
    }
    message = refused(write_folder(tmp_path / "source", files), bucket)
    assert "is 8x9, but the most frequent size is 8x8 (height x width; 8 of 20; 4 sizes in all)" in message


@pytest.mark.parametrize("mode", ["L", "RGBA", "P"])
def test_other_modes_are_refused_unless_converted(tmp_path: Path, bucket: Bucket, files: Files, mode: str) -> None:
    folder = write_folder(tmp_path / "source", {**files, "test/FAKE/7.png": encode(pixels(7), mode=mode)})
    message = refused(folder, bucket)
    assert f"test/FAKE/7.png: has mode {mode} instead of RGB" in message
    assert "--convert" in message
    assert pack(str(folder), bucket, convert=True).splits["test"].counts == (4, 3)


def test_images_beside_the_classes_are_refused(tmp_path: Path, bucket: Bucket, files: Files) -> None:
    beside = write_folder(tmp_path / "beside", {**files, "train/1.png": b"x"})
    assert "beside the class folders" in refused(beside, bucket)


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
