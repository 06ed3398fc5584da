"""Which names of classes cannot be told apart."""

import unicodedata
from collections import defaultdict
from collections.abc import Iterable

from tuner.errors import DataError


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


def check_distinct(classes: Iterable[str], source: str) -> None:
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


def almost_same(name: str, others: Iterable[str]) -> str:
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
