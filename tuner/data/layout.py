"""Which files are the images of which split and class: finds the folder that has train/ and test/."""

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from tuner.data.source import Entries, File
from tuner.errors import DataError

SPLITS = ("train", "test")


@dataclass(frozen=True)
class Layout:
    """A data set's files, in the order in which they are packed."""

    root: str
    """The folder of the source that has train/ and test/; "" is the source itself."""
    classes: tuple[str, ...]
    """Sorted by name; a label is the index here."""
    splits: dict[str, tuple[tuple[File, ...], ...]]
    """For each split, for each class, its files in natural order."""

    def files(self, split: str) -> tuple[File, ...]:
        """Return all files of a split, class by class."""
        return tuple(file for files in self.splits[split] for file in files)

    def image_name(self, file: File) -> str:
        """Return `class/file` for a file of this layout."""
        return "/".join(file.path.rsplit("/", 2)[1:])


def find_layout(entries: Entries, source: str) -> Layout:
    """Return the layout of the one folder, at any depth, that has train/ and test/ with the same classes in them.

    Raises DataError where there is none or more than one, and for a missing split or class, an empty class, a class
    in one split only, and files that lie beside or below the class folders.
    """
    folders: dict[str, list[File]] = defaultdict(list)
    for file in entries.files:
        folders[file.path.rpartition("/")[0]].append(file)
    for folder in list(folders) + sorted(entries.folders):
        for parent in _with_parents(folder):
            folders.setdefault(parent, [])
    root = _root(folders, source)
    here = f"{root}/" if root else ""
    found = {split: _classes(folders, f"{here}{split}") for split in SPLITS}
    train, test = found["train"], found["test"]
    for split, other in (("train", "test"), ("test", "train")):
        lacking = sorted(set(found[other]) - set(found[split]))
        if lacking:
            raise DataError(
                f"{source}: class {lacking[0]} is in {here}{other} but not in {here}{split}; both must have it."
            )
    if len(train) < 2:
        raise DataError(f"{source}: {here}train has {len(train)} class folder(s); a data set needs at least two.")
    classes = tuple(sorted(train))
    splits = {
        split: tuple(tuple(sorted(by_class[name], key=natural_key)) for name in classes)
        for split, by_class in (("train", train), ("test", test))
    }
    return Layout(root, classes, splits)


def natural_key(file: File) -> tuple[list[str | int], str]:
    """Sort key: numbers in names by value, `7.jpg` before `7 (2).jpg` before `10.jpg`."""
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
        raise DataError(f"{source}: {len(roots)} folders have train/ and test/ ({listed}); give a source with one.")
    if having:
        root, splits = min(having.items())
        split = next(iter(splits))
        lacking = SPLITS[1 - SPLITS.index(split)]
        raise DataError(f"{source}: there is {split}/ in {root or 'it'} but no {lacking}/; both splits are needed.")
    raise DataError(f"{source}: no folder in it has train/ and test/, with one folder a class in each.")


def _classes(folders: dict[str, list[File]], split: str) -> dict[str, list[File]]:
    """Return the files of each class of a split; every folder there is a class and has files only."""
    if folders[split]:
        raise DataError(f"{folders[split][0].path}: lies beside the class folders of {split}/; move it away.")
    found = {}
    for folder, files in folders.items():
        if not folder.startswith(f"{split}/"):
            continue
        name = folder[len(split) + 1 :]
        if "/" in name:
            raise DataError(f"{folder}: is a folder within a class; images must lie in {split}/CLASS/ directly.")
        found[name] = files
    if not found:
        raise DataError(f"{split}: has no class folders with images in it.")
    for name, files in sorted(found.items()):
        if not files:
            raise DataError(f"{split}/{name}: the class is empty; add its images or remove the folder in both splits.")
    return found
