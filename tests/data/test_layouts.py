"""The folders that people have: with and without splits, under other names, nested, and with other files in them."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.data.images import data_set, encode, pixels, write_folder
from tests.data.refusals import refused
from tuner.bucket import Bucket
from tuner.data.check import check
from tuner.data.folder_layout import find_layout
from tuner.data.holdout import split_off_test, validation_indices
from tuner.data.layout import Layout
from tuner.data.manifest import MadeSplit, read_manifest
from tuner.data.pack import pack
from tuner.data.source import Entries, File
from tuner.data.split_names import split_of
from tuner.data.survey import Splitting
from tuner.errors import DataError


def layout(*paths: str, folders: tuple[str, ...] = ()) -> Layout:
    return find_layout(Entries(tuple(File(path, 1) for path in paths), frozenset(folders)), "source")


def counts(found: Layout) -> dict[str, list[int]]:
    return {split: [len(files) for files in by_class] for split, by_class in found.splits.items()}


def classes(*bases: str) -> list[str]:
    """Two images of two classes in each of the folders."""
    return [f"{base}{name}/{number}.jpg" for base in bases for name in ("cat", "dog") for number in range(2)]


def unusable(*paths: str, folders: tuple[str, ...] = ()) -> str:
    with pytest.raises(DataError) as caught:
        layout(*paths, folders=folders)
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "split"),
    [
        *dict.fromkeys(("train", "Training", "TRAIN", "training_set", "train-images", "Train Data"), "train").items(),
        *dict.fromkeys(("val", "valid", "Validation", "validation_split", "dev"), "validation").items(),
        *dict.fromkeys(("test", "Testing", "test_set", "TEST.images"), "test").items(),
        *dict.fromkeys(("trains", "testament", "values", "bullet_train", "contest", "cat", ""), None).items(),
    ],
)
def test_a_split_is_known_by_the_names_that_people_give_it(name: str, split: str | None) -> None:
    assert split_of(name) == split


@pytest.mark.parametrize("base", ["", "photos/", "My Dataset v2/data/"])
def test_class_folders_alone_are_training_images(base: str) -> None:
    found = layout(*classes(base), "README.md", "LICENSE", f"{base}docs/notes.txt")
    assert found.classes == ("cat", "dog")
    assert counts(found) == {"train": [2, 2]}
    assert found.names[f"{base}cat/0.jpg"] == "cat/0.jpg"
    place = f"in {base}" if base else "at the top of the source"
    assert found.notes[0] == f"The folders of the classes are {place}, without folders of splits."


@pytest.mark.parametrize(
    ("train", "validation", "test"),
    [
        ("train", "val", "test"),
        ("Train", "Validation", "Test"),
        ("training", "valid", "testing"),
        ("training_set/training_set", "val/val", "test_set/test_set"),
    ],
)
def test_splits_are_used_whatever_they_are_called(train: str, validation: str, test: str) -> None:
    found = layout(*classes(f"{train}/", f"{validation}/", f"{test}/"))
    assert counts(found) == {"train": [2, 2], "validation": [2, 2], "test": [2, 2]}
    assert found.notes == (
        f"The folders of the splits are {train}/ (train), {validation}/ (validation) and {test}/ (test).",
    )


def test_the_usual_splits_are_not_worth_a_note() -> None:
    assert layout(*classes("DATASET/train/", "DATASET/test/")).notes == ()


@pytest.mark.parametrize(
    ("paths", "says"),
    [
        (classes("train/", "test/", "holdout/"), "holdout/ has 4 images, and looks like another split beside train/"),
        (classes("train/", "training/"), "training/ has 4 images, and looks like another split beside train/"),
        (classes("Train/", "training/"), "Train/ and training/ are all folders of train images"),
        (classes("seg_train/", "seg_test/"), "seg_test/ and seg_train/ have the same folders (cat and dog)"),
        (classes("val/", "test/"), "has test/ but no train/"),
        (["train/1.jpg", "test/1.jpg"], "test/ and train/ have images directly, without folders of classes"),
        (["1.jpg", "2.jpg"], "2 images are in the source directly"),
        (["all/1.jpg", "all/2.jpg"], "only one class (all)"),
        ([*classes(""), "1.jpg"], "1.jpg: is beside the class folders of source/"),
        ([*classes("train/"), "train/1.jpg"], "train/1.jpg: is beside the class folders of train/"),
        (["a/notes.txt", "b/notes.txt"], "no folder of the source contains train/ and test/, or images"),
    ],
)
def test_a_source_that_can_be_meant_in_two_ways_is_refused(paths: list[str], says: str) -> None:
    assert says in unusable(*paths)


@pytest.mark.parametrize(
    "paths",
    [
        ["images/1.jpg", "images/2.jpg", "labels.csv"],
        ["1.jpg", "labels.csv"],
        ["train/1.jpg", "test/1.jpg", "labels.csv"],
    ],
)
def test_a_csv_file_that_may_have_the_labels_is_named(paths: list[str]) -> None:
    says = "or use --labels labels.csv (setting data.labels) if this file has the label of each image"
    assert says in unusable(*paths)
    assert "has the label of each image: a.csv and labels.csv." in unusable(*paths, "a.csv")


def test_an_empty_folder_among_the_classes_is_refused() -> None:
    assert "New Folder: the class is empty" in unusable(*classes(""), folders=("New Folder",))


def test_folders_that_are_too_deep_are_refused() -> None:
    assert "the maximum is 64" in unusable("a/" * 5000 + "1.jpg", *classes(""))


def test_a_class_may_be_named_as_a_split() -> None:
    found = layout("train/1.jpg", "train/2.jpg", "car/1.jpg", "plane/1.jpg")
    assert found.classes == ("car", "plane", "train")


def test_images_that_are_no_part_of_the_data_set_are_reported() -> None:
    found = layout(*classes("train/", "test/"), "predict/1.jpg", "predict/2.jpg")
    assert found.warnings == ("2 images outside the folders of the classes are not used, such as predict/1.jpg.",)
    found = layout(*classes("train/"), "test/1.jpg", "test/2.jpg")
    assert counts(found) == {"train": [2, 2]}
    assert "test/ has 2 images without folders of classes, so without labels" in found.warnings[0]


def test_folders_within_a_class_belong_to_it() -> None:
    found = layout(*classes("train/", "test/"), "train/cat/kitten/7.jpg", "train/cat/kitten/old/3.jpg")
    assert counts(found) == {"train": [4, 2], "test": [2, 2]}
    assert found.names["train/cat/kitten/7.jpg"] == "cat/kitten/7.jpg"
    assert found.notes[-1] == "2 images in folders within classes are included, such as train/cat/kitten/7.jpg."


def test_images_without_suffix_are_images() -> None:
    found = layout(*(path.removesuffix(".jpg") for path in classes("")), "labels.csv")
    assert counts(found) == {"train": [2, 2]}


def test_files_that_are_no_images_are_skipped_counted_and_named(tmp_path: Path, bucket: Bucket) -> None:
    files = data_set()
    others = {"train/REAL/notes.txt": b"x", "train/REAL/list.csv": b"a,b", "train/README": b"x", "test/REAL/x.bin": b""}
    folder = write_folder(tmp_path / "source", {**files, **others})
    expected = pack(str(write_folder(tmp_path / "clean", files)), bucket)
    manifest = pack(str(folder), bucket)
    assert manifest.digest == expected.digest
    assert manifest.notes == (
        "1 file beside the class folders is skipped: train/README.",
        "3 files that are no image, in folders of classes, are skipped, such as train/REAL/list.csv.",
    )
    assert check(str(folder)).notes == manifest.notes


def test_a_class_of_other_files_only_is_refused(tmp_path: Path, bucket: Bucket) -> None:
    folder = write_folder(tmp_path / "source", {**data_set(), "train/MORE/1.bin": b"x", "test/MORE/1.bin": b"x"})
    assert "class MORE has no images in train, but other files" in refused(folder, bucket)


def test_missing_test_images_are_held_out_and_recorded(tmp_path: Path, bucket: Bucket) -> None:
    files = {name.removeprefix("train/"): data for name, data in data_set(train=20, test=0).items()}
    folder = str(write_folder(tmp_path / "pets", files))
    manifest = pack(folder, bucket)
    assert {split: part.counts for split, part in manifest.splits.items()} == {"train": (16, 16), "test": (4, 4)}
    assert manifest.made_test == MadeSplit(fraction=0.2, seed=1)
    assert "8 of 40 images were held out for the test (data.test 0.2, data.test_seed 1)" in manifest.notes[1]
    assert read_manifest(bucket, manifest.digest) == manifest == pack(folder, bucket)
    report = check(folder)
    assert report.notes == manifest.notes
    assert report.counts == {"train": {"FAKE": 16, "REAL": 16}, "test": {"FAKE": 4, "REAL": 4}}
    other = pack(folder, bucket, splitting=Splitting(test=0.5, test_seed=2))
    assert other.digest != manifest.digest
    assert other.splits["test"].counts == (10, 10)


def test_copies_of_an_image_stay_on_one_side_of_a_made_test_split(tmp_path: Path, bucket: Bucket) -> None:
    files = {name.removeprefix("train/"): data for name, data in data_set(train=20, test=0).items()}
    for number in range(10):
        files[f"REAL/copy {number}.png"] = files[f"FAKE/{number}.png"]
    manifest = pack(str(write_folder(tmp_path / "pets", files)), bucket)
    assert not set(manifest.splits["train"].sha256) & set(manifest.splits["test"].sha256)


def test_an_image_of_the_validation_split_does_not_become_a_test_image() -> None:
    hashes = [f"{number:064x}" for number in range(20)]
    free = split_off_test(["a"], [20], hashes, 0.2, 1)
    kept = {hashes[index] for index in free}
    assert not {hashes[index] for index in split_off_test(["a"], [20], hashes, 0.2, 1, kept)} & kept


def test_a_class_that_is_too_small_to_be_divided_is_refused(tmp_path: Path, bucket: Bucket) -> None:
    files = {name.removeprefix("train/"): data for name, data in data_set(train=1, test=0).items()}
    assert "to hold some out for testing" in refused(write_folder(tmp_path / "pets", files), bucket)


def test_validation_images_of_the_source_are_packed_as_such(tmp_path: Path, bucket: Bucket) -> None:
    files = data_set(train=6, test=3)
    files |= {
        f"val/{name}/{number}.png": encode(pixels(900 + number)) for name in ("FAKE", "REAL") for number in (0, 1)
    }
    files["val/REAL/copy.png"] = files["train/REAL/0.png"]
    manifest = pack(str(write_folder(tmp_path / "source", files)), bucket)
    assert list(manifest.splits) == ["train", "validation", "test"]
    assert manifest.splits["validation"].counts == (2, 3)
    assert read_manifest(bucket, manifest.digest) == manifest
    assert manifest.warnings == (
        "1 image of the validation split is also in the training split, byte for byte: val/REAL/copy.png.",
    )
    without = pack(str(write_folder(tmp_path / "other", data_set(train=6, test=3))), bucket)
    assert without.digest != manifest.digest


def test_the_images_to_validate_on_are_not_related_to_those_of_a_made_test_split(
    tmp_path: Path, bucket: Bucket
) -> None:
    """With the same numbers, both would take the images of the lowest ranks."""
    files = {name.removeprefix("train/"): data for name, data in data_set(train=40, test=0).items()}
    whole = pack(str(write_folder(tmp_path / "pets", files)), bucket, splitting=Splitting(test=0.5))
    hashes = np.array(whole.splits["train"].sha256)
    again = {hashes[index] for index in split_off_test(["a", "b"], whole.splits["train"].counts, list(hashes), 0.5, 1)}
    assert again != {hashes[index] for index in validation_indices(whole, 0.5, 1)}


def test_exif_orientation_is_applied_reported_and_part_of_the_digest(tmp_path: Path, bucket: Bucket) -> None:
    tags = Image.Exif()
    tags[0x0112] = 6
    turned = encode(pixels(5, 8, 12), "JPEG", exif=tags.tobytes())
    files = {**data_set(), "train/REAL/9.jpg": turned}
    folder = write_folder(tmp_path / "source", files)
    assert "is 12x8, but most images are 8x8" in refused(folder, bucket)
    manifest = pack(str(folder), bucket, resize=(8, 8))
    assert manifest.turned == 1
    assert manifest.notes == ("1 image is rotated or mirrored as the EXIF orientation says: train/REAL/9.jpg.",)
    assert read_manifest(bucket, manifest.digest) == manifest
