"""Read a CSV file of labels: its rows, and which of its columns are the image, the label and the split."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass

from tuner.data.image_formats import is_named_as_image
from tuner.data.label_paths import FileIndex, Rule
from tuner.data.notes import listed
from tuner.data.split_names import split_of
from tuner.errors import DataError

_DELIMITERS = ",;\t|"
_LABEL_NAMES = "label labels class classes class_name classname class_label category categories target y species breed"
_SPLIT_NAMES = "split set subset partition data_set dataset usage phase"
_LABELS, _SPLITS = frozenset(_LABEL_NAMES.split()), frozenset(_SPLIT_NAMES.split())
_INDEX = ("", "unnamed: 0")
_SAMPLE_ROWS = 500


@dataclass(frozen=True)
class Columns:
    """Names or numbers (from 1) of the columns of a CSV file. None: to be inferred."""

    image: str | None = None
    label: str | None = None
    split: str | None = None


@dataclass(frozen=True)
class Row:
    """One row of a CSV file of labels."""

    line: int
    """Number of the line in the file, from 1."""
    image: str
    label: str
    split: str
    """"" if the file has no column of splits."""


@dataclass(frozen=True)
class LabelTable:
    """The content of a CSV file of labels."""

    rows: tuple[Row, ...]
    rule: Rule
    note: str
    """A sentence about the columns."""


def read_table(data: bytes, name: str, columns: Columns, index: FileIndex) -> LabelTable:
    """Return the rows of a CSV file. Raises DataError if it cannot be read or its columns cannot be inferred."""
    rows = _rows(_text(data, name), name)
    if not rows:
        raise DataError(f"{name}: has no rows. Write a row with the path and the label of each image.")
    return _Inference(name, columns, index, rows).table()


def _text(data: bytes, name: str) -> str:
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        return data.decode(encoding)
    except UnicodeDecodeError:
        raise DataError(f"{name}: is not valid UTF-8. Save it again as UTF-8 (in Excel: CSV UTF-8).") from None


def _rows(text: str, name: str) -> list[tuple[int, list[str]]]:
    first = next((line for line in text.splitlines() if line.strip()), "")
    delimiter = max(_DELIMITERS, key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        return [(reader.line_num, [cell.strip() for cell in row]) for row in reader if any(map(str.strip, row))]
    except csv.Error as error:
        raise DataError(f"{name}: line {reader.line_num} cannot be read ({error}). Correct the line.") from None


class _Inference:
    """Finds out which column is which."""

    def __init__(self, name: str, columns: Columns, index: FileIndex, rows: list[tuple[int, list[str]]]) -> None:
        self._name, self._columns, self._index = name, columns, index
        self._width = max(len(cells) for _, cells in rows)
        self._all = [(line, cells + [""] * (self._width - len(cells))) for line, cells in rows]
        self._first = self._all[0][1]

    def table(self) -> LabelTable:
        image = self._image()
        named = any(_is_name(column) for column in (self._columns.image, self._columns.label, self._columns.split))
        values = [cells[image] for _, cells in self._all]
        rule, _ = self._index.rule_for(values[1:] or values)
        has_header = named or not (self._index.find(rule, self._first[image]) or is_named_as_image(self._first[image]))
        rows = self._all[1:] if has_header else self._all
        if not rows:
            raise DataError(f"{self._name}: has a header, but no rows. Write a row for each image.")
        split = self._split(image, rows, has_header)
        label = self._label(image, split, rows, has_header)
        parts = [f"images from {self._shown(image, has_header)}", f"labels from {self._shown(label, has_header)}"]
        if split is not None:
            parts.append(f"splits from {self._shown(split, has_header)}")
        return LabelTable(
            tuple(
                Row(line, cells[image], cells[label], cells[split] if split is not None else "") for line, cells in rows
            ),
            rule,
            f"{self._name}: {listed(parts)}.",
        )

    def _image(self) -> int:
        if self._columns.image is not None:
            return self._position(self._columns.image, "image")
        sample = [cells for _, cells in self._all[1 : _SAMPLE_ROWS + 1]] or [self._first]
        scores = [self._score([cells[column] for cells in sample]) for column in range(self._width)]
        best = max(range(self._width), key=scores.__getitem__)
        if not any(scores[best]):
            raise DataError(
                f"{self._name}: no column names files of the source; the first row with values is "
                f"{listed(sample[0])}. Write the path of each image in one column, relative to the folder of the CSV "
                "file."
            )
        return best

    def _score(self, values: Sequence[str]) -> tuple[int, int]:
        """Return how many values name files with their suffix, and how many name files at all.

        A column of row numbers may name files without their suffix by accident.
        """
        found = self._index.rule_for(values)[1]
        return (sum(map(is_named_as_image, values)) and found, found)

    def _split(self, image: int, rows: Sequence[tuple[int, list[str]]], has_header: bool) -> int | None:
        if self._columns.split is not None:
            return self._position(self._columns.split, "split")
        for column in range(self._width):
            named = has_header and self._first[column].casefold().replace(" ", "_") in _SPLITS
            splits = [split_of(cells[column]) for _, cells in rows]
            # a column named `split` with a few unknown values is used, so that the error names them
            if column != image and (all(splits) or (named and any(splits))):
                return column
        return None

    def _label(self, image: int, split: int | None, rows: Sequence[tuple[int, list[str]]], has_header: bool) -> int:
        if self._columns.label is not None:
            return self._position(self._columns.label, "label")
        others = [column for column in range(self._width) if column not in (image, split)]
        if has_header:
            others = [column for column in others if self._first[column].casefold() not in _INDEX]
            named = [c for c in others if self._first[c].casefold().replace(" ", "_").replace("-", "_") in _LABELS]
            others = named or others
        if len(others) == 1:
            return others[0]
        if not others:
            raise DataError(f"{self._name}: has no column of labels. Add one, with the class of each image.")
        shown = listed([self._first[column] if has_header else str(column + 1) for column in others])
        raise DataError(
            f"{self._name}: several columns could be the labels ({shown}). Set data.columns.label to one of them "
            "(option --columns IMAGE,LABEL)."
        )

    def _position(self, column: str, role: str) -> int:
        if column in self._first:
            return self._first.index(column)
        if column.isdecimal() and 1 <= int(column) <= self._width:
            return int(column) - 1
        raise DataError(
            f"{self._name}: has no column {column}, which data.columns.{role} names; its columns are "
            f"{listed(self._first)}."
        )

    def _shown(self, column: int, has_header: bool) -> str:
        return f"column {self._first[column]}" if has_header and self._first[column] else f"column {column + 1}"


def _is_name(column: str | None) -> bool:
    return column is not None and not column.isdecimal()
