"""What `check` finds."""

import time
from pathlib import Path

import pytest

from tests.data.images import Files, data_set, encode, pixels, write_folder, write_zip
from tuner.data.check import _count_pairs, check
from tuner.errors import DataError


def test_counts_and_kinds_are_reported(tmp_path: Path) -> None:
    files = data_set(("cat", "dog"), train=4, test=2)
    files["test/dog/7.png"] = encode(pixels(7, 9, 10), mode="L")
    report = check(str(write_folder(tmp_path / "pets", files)))
    assert report.source == "pets"
    assert report.counts == {"train": {"cat": 4, "dog": 4}, "test": {"cat": 2, "dog": 3}}
    assert [(kind.height, kind.width, kind.mode, kind.images) for kind in report.kinds] == [
        (8, 8, "RGB", 12),
        (9, 10, "L", 1),
    ]
    assert report.kinds[1].first == "test/dog/7.png"
    assert report.corrupt == ()
    assert report.groups == ()


def test_every_corrupt_file_is_listed_with_its_reason(tmp_path: Path, files: Files) -> None:
    jpeg = encode(pixels(1, 64, 64), "JPEG")
    files["train/FAKE/80.jpg"] = jpeg[: len(jpeg) // 2]  # its header is fine
    files["test/REAL/81.jpg"] = b"some text"
    files["test/REAL/82.png"] = b""
    report = check(str(write_folder(tmp_path / "source", files)))
    reasons = {file.path: file.reason for file in report.corrupt}
    assert set(reasons) == {"train/FAKE/80.jpg", "test/REAL/81.jpg", "test/REAL/82.png"}
    assert "Premature end" in reasons["train/FAKE/80.jpg"]
    assert "some text" in reasons["test/REAL/81.jpg"]
    assert "the file is empty" in reasons["test/REAL/82.png"]
    assert report.counts["train"]["FAKE"] == 7


def test_a_file_damaged_within_a_zip_is_corrupt(tmp_path: Path, files: Files) -> None:
    path = write_zip(tmp_path / "archive.zip", files)
    data = bytearray(path.read_bytes())
    data[data.index(files["test/REAL/1.png"]) + 20] ^= 1
    path.write_bytes(data)
    (file,) = check(str(path)).corrupt
    assert file.path == "test/REAL/1.png"


def test_pairs_of_duplicates_are_counted_within_and_across(tmp_path: Path, files: Files) -> None:
    same = encode(pixels(999))
    for name in ("train/FAKE/90.png", "train/FAKE/91.png", "train/FAKE/92.png", "test/FAKE/93.png", "test/REAL/94.png"):
        files[name] = same
    report = check(str(write_folder(tmp_path / "source", files)))
    assert report.pairs_within("train/FAKE") == 3
    assert report.pairs_within("test/FAKE") == 0
    assert report.pairs_across() == 6
    assert {duplicate.folders: duplicate.pairs for duplicate in report.duplicates}["test/FAKE", "test/REAL"] == 1
    assert len(report.groups) == 1
    assert len(report.groups[0]) == 5


def test_an_unusable_source_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="train/ and test/"):
        check(str(write_folder(tmp_path / "source", {"a.png": b""})))


def test_the_sample_has_no_defects() -> None:
    report = check(None)
    assert report.counts == {"train": {"FAKE": 1000, "REAL": 1000}, "test": {"FAKE": 200, "REAL": 200}}
    assert report.corrupt == report.groups == ()
    assert [(kind.height, kind.width, kind.mode) for kind in report.kinds] == [(32, 32, "RGB")]


def test_pairs_of_many_equal_images_are_counted_exactly_and_in_linear_time() -> None:
    """Listing the pairs of 100,000 equal images would take hours, and their number fits into no 32 bits."""
    copies = 100_000
    group = (*(f"train/A/{number}" for number in range(copies)), "train/B/0", "test/A/0", "test/A/1")
    began = time.process_time()
    pairs = {entry.folders: entry.pairs for entry in _count_pairs((group,))}
    assert time.process_time() - began < 5
    assert pairs == {
        ("test/A", "test/A"): 1,
        ("train/A", "test/A"): 2 * copies,
        ("train/A", "train/A"): copies * (copies - 1) // 2,
        ("train/A", "train/B"): copies,
        ("train/B", "test/A"): 2,
    }


def test_an_archive_of_equal_images_is_checked_with_each_of_them_in_one_group(tmp_path: Path) -> None:
    same, copies = encode(pixels(0, 4, 4), "JPEG"), 2000
    names = [f"{split}/{name}/0.jpg" for split in ("train", "test") for name in ("A", "B")]
    names += [f"train/A/e{number}.jpg" for number in range(copies)]
    report = check(str(write_zip(tmp_path / "equal.zip", dict.fromkeys(names, same))))
    assert report.pairs_within("train/A") == (copies + 1) * copies // 2
    assert report.pairs_across() == (copies + 2) * 2
    (group,) = report.groups
    assert len(group) == copies + 4


def test_classes_that_differ_only_by_case_are_a_warning(tmp_path: Path) -> None:
    report = check(str(write_zip(tmp_path / "pets.zip", data_set(("Cat", "cat", "dog"), 1, 1))))
    assert report.classes == ("Cat", "cat", "dog")
    (warning,) = report.warnings
    assert "'Cat' and 'cat' differ only by case" in warning


def test_classes_that_differ_by_case_and_normalisation_are_a_warning(tmp_path: Path) -> None:
    report = check(str(write_zip(tmp_path / "letters.zip", data_set(("e\u0301", "\u00c9"), 1, 1))))
    (warning,) = report.warnings
    assert "differ only by case" in warning


def test_bytes_after_the_end_of_an_archive_are_a_warning(tmp_path: Path, files: Files) -> None:
    path = write_zip(tmp_path / "archive.zip", files)
    path.write_bytes(path.read_bytes() + b"x" * 1000)
    assert check(str(path)).warnings == ("1,000 bytes follow the end of archive.zip and are ignored.",)
