"""The layout of a data set: which files are the images of each split and class."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tuner.data.source import File
from tuner.data.split_names import SPLITS
from tuner.errors import DataError

__all__ = ["SPLITS", "Layout", "check_classes", "natural_key"]


@dataclass(frozen=True)
class Layout:
    """A data set's files, in packing order."""

    classes: tuple[str, ...]
    """Class names in order; a label is an index into them."""
    splits: dict[str, tuple[tuple[File, ...], ...]]
    """The files of each class of each split, in the natural order of their names. "test" and "validation" may lack."""
    names: Mapping[str, str]
    """`class/file` of each file by its path; `class/folder/file` if a class has folders within it."""
    notes: tuple[str, ...] = ()
    """Sentences about how the source was understood."""
    warnings: tuple[str, ...] = ()
    """Sentences about what is accepted, but is probably a mistake."""

    def files(self, split: str) -> tuple[File, ...]:
        """Return all files of a split, class by class."""
        return tuple(file for files in self.splits[split] for file in files)

    def image_name(self, file: File) -> str:
        """Return `class/file` for a file of this layout."""
        return self.names[file.path]


def check_classes(classes: Sequence[str], source: str, place: str, alternative: str = "") -> None:
    """Raise DataError if there are less than two classes. `alternative` continues the advice to add another one."""
    if len(classes) < 2:
        raise DataError(
            f"{source}: {place} has only one class ({classes[0]}), but a data set needs at least two. Add another "
            f"class{alternative}."
        )


def natural_key(file: File) -> tuple[list[str | int], str]:
    """Return a sort key that orders by the values of numbers: `7.jpg` before `7 (2).jpg` before `10.jpg`."""
    stem = file.path.rpartition("/")[2].rpartition(".")[0] or file.path
    parts: list[str | int] = list(_DIGITS.split(stem))
    parts[1::2] = map(int, parts[1::2])
    return parts, file.path


_DIGITS = re.compile(r"([0-9]{1,18})")
