"""The layout of a data set: which files are the images of each split and class."""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from tuner.data.source import Entries, File
from tuner.errors import DataError

SPLITS = ("train", "test")


@dataclass(frozen=True)
class Layout:
    """A data set's files, in packing order."""

    root: str
    """Folder of the source that contains train/ and test/; "" is the source itself."""
    classes: tuple[str, ...]
    """Class names in order; a label is an index into them."""
    splits: dict[str, tuple[tuple[File, ...], ...]]
    """The files of each class of each split, in the natural order of their names."""

    def files(self, split: str) -> tuple[File, ...]:
        """Return all files of a split, class by class."""
        return tuple(file for files in self.splits[split] for file in files)

    def image_name(self, file: File) -> str:
        """Return `class/file` for a file of this layout."""
        return "/".join(file.path.rsplit("/", 2)[1:])


def find_layout(entries: Entries, source: str) -> Layout:
    """Return the layout of the only folder, at any depth, that contains train/ and test/ with the same classes.

    Raises DataError if no folder or several folders contain them, if a class is empty or is missing in one split, if
    two classes look the same, and if files are beside or below the class folders.
    """
    folders: dict[str, list[File]] = defaultdict(list)
    for file in entries.files:
        folders[file.path.rpartition("/")[0]].append(file)
    for folder in list(folders) + sorted(entries.folders):
        for parent in _with_parents(folder):
            folders.setdefault(parent, [])
    root = _root(folders, source)
    base = f"{root}/" if root else ""
    classes_of = {split: _classes(folders, f"{base}{split}") for split in SPLITS}
    train, test = classes_of["train"], classes_of["test"]
    for split, other in (("train", "test"), ("test", "train")):
        lacking = sorted(set(classes_of[other]) - set(classes_of[split]))
        if lacking:
            raise DataError(
                f"{source}: class {lacking[0]} is in {base}{other} but not in {base}{split}"
                f"{_almost(lacking[0], classes_of[split])}"
            )
    if len(train) < 2:
        raise DataError(
            f"{source}: {base}train has only one class, but a data set needs at least two. Add a class folder."
        )
    classes = tuple(sorted(train))
    _check_distinct(classes, source)
    splits = {
        split: tuple(tuple(sorted(by_class[name], key=natural_key)) for name in classes)
        for split, by_class in (("train", train), ("test", test))
    }
    return Layout(root, classes, splits)


def similar_classes(classes: Iterable[str]) -> tuple[str, ...]:
    """Return a warning for each group of classes whose names differ only by case, also if they are normalised.

    It is not an error, because some data sets have such classes, such as letters ("A" and "a").
    """
    groups: dict[str, list[str]] = defaultdict(list)
    for name in classes:
        groups[_normal(name).casefold()].append(name)
    return tuple(
        f"The classes {' and '.join(map(repr, names))} differ only by case. They stay separate classes here, but the "
        "file systems of macOS and Windows merge their folders. Rename one of them if they are the same class."
        for names in groups.values()
        if len(names) > 1
    )


def _check_distinct(classes: Iterable[str], source: str) -> None:
    """Raise DataError if two classes differ only in the Unicode normalisation of their names.

    No table, chart or prediction could tell them apart, and macOS merges their folders.
    """
    seen: dict[str, str] = {}
    for name in classes:
        normal = _normal(name)
        if normal in seen:
            raise DataError(
                f"{source}: the classes {seen[normal]!a} and {name!a} look the same, because their names "
                "differ only in Unicode normalisation. Merge the two folders, or rename one of them."
            )
        seen[normal] = name


def _almost(name: str, others: Iterable[str]) -> str:
    """Return how an error continues about a class that a split does not have: with the most likely cause."""
    for other in others:
        if _normal(other) == _normal(name):
            return (
                f", which has {other!a} instead of {name!a}: the names look the same, and differ only in Unicode "
                "normalisation. Rename one of the two folders."
            )
        if other.casefold() == name.casefold():
            return f", which has {other!r}: the names differ only by case. Rename one of the two folders."
    return ". Add the class to both splits, or remove it."


def _normal(name: str) -> str:
    """Return the name in one of the forms that Unicode considers the same."""
    return unicodedata.normalize("NFC", name)


def natural_key(file: File) -> tuple[list[str | int], str]:
    """Return a sort key that orders by the values of numbers: `7.jpg` before `7 (2).jpg` before `10.jpg`."""
    stem = file.path.rpartition("/")[2].rpartition(".")[0] or file.path
    parts: list[str | int] = list(_DIGITS.split(stem))
    parts[1::2] = map(int, parts[1::2])
    return parts, file.path


_DIGITS = re.compile(r"([0-9]{1,18})")


def _with_parents(folder: str) -> Iterable[str]:
    while True:
        yield folder
        if not folder:
            return
        folder = folder.rpartition("/")[0]


def _root(folders: Iterable[str], source: str) -> str:
    having: dict[str, set[str]] = defaultdict(set)
    for folder in folders:
        parent, _, last = folder.rpartition("/")
        if last in SPLITS:
            having[parent].add(last)
    roots = sorted(root for root, splits in having.items() if len(splits) == len(SPLITS))
    if len(roots) == 1:
        return roots[0]
    if roots:
        listed = ", ".join(repr(root or ".") for root in roots[:5])
        raise DataError(
            f"{source}: {len(roots)} folders contain train/ and test/ ({listed}). Pass a source with only one of them."
        )
    if having:
        root, splits = min(having.items())
        split = next(iter(splits))
        lacking = SPLITS[1 - SPLITS.index(split)]
        raise DataError(
            f"{source}: {root or 'the source'} has {split}/ but no {lacking}/. Add {lacking}/ with a "
            "folder for each class."
        )
    raise DataError(
        f"{source}: no folder of the source contains train/ and test/. Create both, with a folder of "
        "images for each class."
    )


def _classes(folders: dict[str, list[File]], split: str) -> dict[str, list[File]]:
    """Return the files of each class of a split. Raises DataError unless its folders contain only files."""
    if folders[split]:
        raise DataError(f"{folders[split][0].path}: is beside the class folders of {split}/. Move the file elsewhere.")
    classes = {}
    for folder, files in folders.items():
        if not folder.startswith(f"{split}/"):
            continue
        name = folder[len(split) + 1 :]
        if "/" in name:
            raise DataError(f"{folder}: is a folder within a class. Move its images directly into {split}/CLASS/.")
        classes[name] = files
    if not classes:
        raise DataError(f"{split}: has no class folders. Add a folder of images for each class.")
    for name, files in sorted(classes.items()):
        if not files:
            raise DataError(f"{split}/{name}: the class is empty. Add images, or remove its folder from both splits.")
    return classes
