"""Labels in a CSV file: which columns and files are meant, and what is refused or reported."""

from pathlib import Path

import pytest

from tests.data.images import Files, encode, pixels, write_folder, write_zip
from tests.support.command_line import run_in_process
from tuner.bucket import Bucket
from tuner.data.check import check
from tuner.data.folder_source import FolderSource
from tuner.data.label_layout import Labels, labelled_layout
from tuner.data.label_table import Columns
from tuner.data.layout import Layout
from tuner.data.manifest import Manifest
from tuner.data.pack import pack
from tuner.data.survey import Splitting
from tuner.errors import DataError

KINDS = ["cat", "dog"]


def rows(form: str = "images/{n}.png,{kind}", count: int = 20) -> str:
    return "".join(f"{form.format(n=number, kind=KINDS[number % 2])}\n" for number in range(count))


def source(folder: Path, text: str | bytes, form: str = "images/{n}.png", count: int = 20) -> Path:
    """A folder of empty files, which suffice to find the layout, and of labels.csv."""
    data = text if isinstance(text, bytes) else text.encode()
    return write_folder(folder, {"labels.csv": data, **{form.format(n=number): b"" for number in range(count)}})


def layout(folder: Path, columns: Columns = Columns(), path: str = "labels.csv") -> Layout:  # noqa: B008
    opened = FolderSource(folder)
    return labelled_layout(opened.entries(), opened, Labels(path, columns))


def counts(found: Layout) -> dict[str, list[int]]:
    return {split: [len(files) for files in by_class] for split, by_class in found.splits.items()}


def unusable(folder: Path, columns: Columns = Columns()) -> str:  # noqa: B008
    with pytest.raises(DataError) as caught:
        layout(folder, columns)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "files", "note"),
    [
        ("file,label\n" + rows(), "images/{n}.png", "images from column file and labels from column label"),
        (rows(), "images/{n}.png", "images from column 1 and labels from column 2"),
        ("label;path\n" + rows("{kind};images\\{n}.png"), "images/{n}.png", "images from column path"),
        ("id,breed\n" + rows("{n},{kind}"), "train/{n}.png", "images from column id and labels from column breed"),
        (",file,label\n" + rows("{n},images/{n}.png,{kind}"), "images/{n}.png", "images from column file and labels"),
        ("path,class\n" + rows("/content/drive/x/images/{n}.png,{kind}"), "images/{n}.png", "images from column path"),
        ("path,class\n" + rows("./{n}.png,{kind}"), "wrapped/images/{n}.png", "images from column path"),
        ("path\ttarget\n" + rows("images/{n}.png\t{kind}"), "data set/images/{n}.png", "labels from column target"),
        ('"path","class"\n' + rows('"images/{n}.png","{kind}"'), "images/{n}.png", "labels from column class"),
        (("\ufeffpath,class\r\n" + rows()).encode(), "images/{n}.png", "images from column path"),
        (("path,class\n" + rows()).encode("utf-16"), "images/{n}.png", "images from column path"),
    ],
)
def test_columns_and_files_are_inferred_and_reported(tmp_path: Path, text: str | bytes, files: str, note: str) -> None:
    found = layout(source(tmp_path / "pets", text, files))
    assert found.classes == ("cat", "dog")
    assert counts(found)["train"] == [10, 10]
    assert note in found.notes[0]
    for file in found.files("train"):
        number = int(Path(file.path).stem)
        assert found.names[file.path] == f"{KINDS[number % 2]}/{file.path}"


def test_named_columns_are_used(tmp_path: Path) -> None:
    text = "image_id,dx,age\n" + rows("{n},{kind},{n}")
    folder = source(tmp_path / "skin", text)
    assert "several columns could be the labels (dx and age)" in unusable(folder)
    assert layout(folder, Columns(label="dx")).classes == ("cat", "dog")
    assert layout(folder, Columns(image="1", label="2")).classes == ("cat", "dog")
    assert "has no column dxx, which data.columns.label names" in unusable(folder, Columns(label="dxx"))
    assert "probably no classes" in unusable(folder, Columns(label="age"))


def test_splits_are_those_of_a_column_or_of_the_folders(tmp_path: Path) -> None:
    kinds = ["train"] * 12 + ["val"] * 4 + ["Test"] * 4
    text = "file,label,split\n" + "".join(
        f"images/{number}.png,{KINDS[number % 2]},{kind}\n" for number, kind in enumerate(kinds)
    )
    found = layout(source(tmp_path / "column", text))
    assert counts(found) == {"train": [6, 6], "validation": [2, 2], "test": [2, 2]}
    assert "splits from column split" in found.notes[0]
    wrong = text.replace("Test", "fold", 1)
    assert "line 18: the split 'fold' is unknown" in unusable(source(tmp_path / "wrong", wrong))
    in_folders = {f"{'train' if number < 14 else 'testing'}/{number}.png": b"" for number in range(20)}
    text = "file,label\n" + "".join(f"{path},{KINDS[number % 2]}\n" for number, path in enumerate(in_folders))
    found = layout(write_folder(tmp_path / "folders", {"labels.csv": text.encode(), **in_folders}))
    assert counts(found) == {"train": [7, 7], "test": [3, 3]}
    assert found.notes[1] == "The splits are those of the folders: test, train."


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("file,label\n" + rows() + "images/4.png,dog\n", "images/4.png is cat in line 6 but dog in line 22"),
        ("file,label\n" + rows("pics/x{n}.png,{kind}"), "no column names files of the source"),
        ("file,label\n" + rows(count=4) + rows("images/x{n}.png,{kind}", 9), "9 of 13 rows name files that are not"),
        ("file,cat,dog\n" + rows("images/{n}.png,0,1"), "several columns could be the labels (cat and dog)"),
        ("file\n" + rows("images/{n}.png"), "has no column of labels"),
        ("", "has no rows"),
        ("file,label\n", "no column names files of the source"),
        ("file,label\n" + rows("images/{n}.png,cat"), "has only one class (cat)"),
        (("file,label\n" + rows("images/{n}.png,ch\u00e4t")).encode("latin-1"), "is not valid UTF-8"),
        ('file,label\n"images/0.png,cat\n', "no column names files"),
    ],
)
def test_a_file_that_can_be_meant_in_two_ways_or_has_no_labels_is_refused(
    tmp_path: Path, text: str | bytes, says: str
) -> None:
    message = unusable(source(tmp_path / "pets", text))
    assert says in message
    assert message.startswith("labels.csv: ")


def test_a_name_that_may_be_two_files_is_refused(tmp_path: Path) -> None:
    files = {f"{folder}/{number}.png": b"" for folder in "ab" for number in range(10)}
    text = "file,label\n" + rows("{n}.png,{kind}", 10)
    message = unusable(write_folder(tmp_path / "pets", {"labels.csv": text.encode(), **files}))
    assert "line 2: 0.png may be a/0.png or b/0.png" in message


def test_the_label_of_a_missing_file_does_not_go_to_another_file_of_its_name(tmp_path: Path) -> None:
    """test/1.png is missing. Its row must not become a row of train/1.png."""
    files = {f"train/{number}.png": b"" for number in range(20)} | {f"test/{number}.png": b"" for number in (2, 3)}
    text = "file,label\n" + rows("train/{n}.png,{kind}") + "test/1.png,cat\ntest/2.png,cat\ntest/3.png,dog\n"
    found = layout(write_folder(tmp_path / "pets", {"labels.csv": text.encode(), **files}))
    assert counts(found) == {"train": [10, 10], "test": [1, 1]}
    assert found.warnings == ("1 row of labels.csv is skipped, because the files are missing: test/1.png (line 22).",)


def test_what_is_skipped_is_counted_and_named(tmp_path: Path) -> None:
    text = "file,label\n" + rows(count=15) + "images/99.png,cat\nimages/16.png,\nimages/1.png,dog\n"
    found = layout(source(tmp_path / "pets", text))
    assert counts(found) == {"train": [8, 7]}
    assert found.warnings[:2] == (
        "1 row of labels.csv is skipped, because the files are missing: images/99.png (line 17).",
        "1 row of labels.csv is skipped, because the label is empty: images/16.png (line 18).",
    )
    assert "5 images without a row in labels.csv are not used" in found.warnings[2]
    assert found.notes[1] == "1 row of labels.csv is repeated, and counted once: images/1.png (line 19)."


def labelled_files(count: int = 20) -> Files:
    files = {f"images/{number}.png": encode(pixels(number)) for number in range(count)}
    return {"labels.csv": ("file,label\n" + rows(count=count)).encode(), **files}


def packed(path: Path, bucket: Bucket, labels: str = "labels.csv") -> Manifest:
    return pack(str(path), bucket, splitting=Splitting(labels=Labels(labels, Columns())))


def test_labels_are_packed_the_same_from_a_folder_an_archive_and_a_file_beside_them(
    tmp_path: Path, bucket: Bucket
) -> None:
    files = labelled_files()
    manifest = packed(write_folder(tmp_path / "pets", files), bucket)
    assert manifest.splits["train"].counts == (8, 8)
    assert manifest.splits["test"].counts == (2, 2)
    assert {name.split("/")[0] for name in manifest.splits["train"].names} == {"cat", "dog"}
    assert packed(write_zip(tmp_path / "pets.zip", files), bucket).digest == manifest.digest
    images = {name: data for name, data in files.items() if name != "labels.csv"}
    write_folder(tmp_path, {"elsewhere.csv": files["labels.csv"]})
    beside = packed(write_folder(tmp_path / "images only", images), bucket, str(tmp_path / "elsewhere.csv"))
    assert beside.digest == manifest.digest
    report = check(str(tmp_path / "pets"), splitting=Splitting(labels=Labels("labels.csv", Columns())))
    assert report.notes == manifest.notes
    with pytest.raises(DataError, match="neither the source nor this machine has this file"):
        packed(tmp_path / "pets", bucket, "nothing.csv")


def test_the_commands_take_labels_and_columns(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "pets", labelled_files())
    options = ("--labels", "labels.csv", "--columns", "file,label", "--test", "0.5")
    checked = run_in_process("data", "check", folder, *options)
    assert checked.code == 0, checked.err
    assert "labels.csv: images from column file and labels from column label." in checked.out
    assert "10 of 20 images were held out for the test (data.test 0.5" in checked.out
    ended = run_in_process("data", "pack", folder, tmp_path / "bucket", *options)
    assert ended.code == 0, ended.err
    for line in checked.out.splitlines():
        if "held out" in line or "column" in line:
            assert line in ended.out
    for wrong, says in (("--test", "0 and 1"), ("--columns", "IMAGE,LABEL")):
        ended = run_in_process("data", "check", folder, wrong, "5")
        assert ended.code == 2
        assert says in ended.err
