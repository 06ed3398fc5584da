"""predictions.csv.gz: the best model's prediction for every test image.

The columns are `name, label, prediction, probability, sha256`: the image's file name, its class, the predicted class,
the probability of the predicted class, and the SHA-256 of the image's file, by which a row is joined with the manifest.
A probability has as few digits as are needed to read back the same 64-bit float. Accuracy and confusion matrix can be
computed from the file exactly. With two classes, the ROC AUC can be computed, too: the score of the second class is
`probability` if that class was predicted, else 1 - `probability`.

Spreadsheets open the file, and names are the user's. So a name or class that would be a formula begins with `'`
(https://owasp.org/www-community/attacks/CSV_Injection), and control characters are masked.
"""

import csv
import gzip
import io
import math
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tuner.evaluation.scores import Labels, Probabilities
from tuner.printable import spreadsheet_cell

COLUMNS = ("name", "label", "prediction", "probability", "sha256")


@dataclass(frozen=True)
class Predictions:
    """A model's predictions for n images."""

    predicted: NDArray[np.intp]
    """Index of the predicted class, (n,)."""

    probability: NDArray[np.float64]
    """Probability of the predicted class, (n,)."""

    by_class: NDArray[np.float64]
    """Probability of every class, (n, classes)."""


@dataclass(frozen=True)
class ReadPredictions:
    """The rows of a file, in order."""

    names: tuple[str, ...]
    labels: tuple[int, ...]
    predicted: tuple[int, ...]
    probability: tuple[float, ...]
    sha256: tuple[str, ...]
    """Empty in files of versions that did not write the column."""

    classes: int

    def confusion_matrix(self) -> tuple[tuple[int, ...], ...]:
        """Return numbers of images. Rows are the truth, columns the prediction."""
        counts = [[0] * self.classes for _ in range(self.classes)]
        for label, predicted in zip(self.labels, self.predicted, strict=True):
            counts[label][predicted] += 1
        return tuple(map(tuple, counts))


def predictions(probabilities: Probabilities) -> Predictions:
    """Return the predictions that follow from `probabilities` (n, classes). Ties go to the first class.

    So a single sigmoid predicts the second class above 0.5, as Keras's binary accuracy does. With two classes, the
    larger probability is adjusted so that both sum to exactly 1. Then `probability` alone determines both.
    """
    predicted = probabilities.argmax(axis=1)
    rows = np.arange(len(predicted))
    by_class = probabilities.astype(np.float64, copy=probabilities.shape[1] == 2)
    if by_class.shape[1] == 2:
        by_class[rows, predicted] = 1 - by_class[rows, 1 - predicted]
        by_class[rows, 1 - predicted] = 1 - by_class[rows, predicted]
    return Predictions(predicted, by_class[rows, predicted], by_class)


def to_csv_gz(
    names: Sequence[str], sha256: Sequence[str], labels: Labels, predictions: Predictions, classes: Sequence[str]
) -> bytes:
    """Return the file's bytes; the same predictions give the same bytes.

    Args:
        names: File name of each image.
        sha256: Hex digest of each image's file.
        labels: Index of each image's class, (n,).
        predictions: The predictions, in the same order.
        classes: Names of the classes.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    cells = [spreadsheet_cell(name) for name in classes]
    for name, digest, label, prediction, probability in zip(
        names, sha256, labels.tolist(), predictions.predicted.tolist(), predictions.probability.tolist(), strict=True
    ):
        writer.writerow((spreadsheet_cell(name), cells[label], cells[prediction], repr(probability), digest))
    return gzip.compress(text.getvalue().encode("utf-8", "backslashreplace"), mtime=0)


def read_csv_gz(data: bytes, classes: Sequence[str]) -> ReadPredictions:
    """Return the content of a file for a data set with these classes.

    Files of earlier versions lack the last column, and contain names unchanged. Raises ValueError if the file is
    damaged; the message has no subject.
    """
    try:
        text = gzip.decompress(data).decode()
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"it cannot be unpacked: {error}") from None
    try:
        return _read(csv.reader(io.StringIO(text)), classes)
    except csv.Error as error:
        raise ValueError(f"it is not CSV: {error}") from None


def _read(rows: Iterator[list[str]], classes: Sequence[str]) -> ReadPredictions:
    columns = tuple(next(rows, ()))
    if columns not in (COLUMNS, COLUMNS[:-1]):
        raise ValueError(f"its columns must be {', '.join(COLUMNS)}, got {', '.join(columns)!r:.80}")
    index = {name: number for number, name in enumerate(classes)} | {
        spreadsheet_cell(name): number for number, name in enumerate(classes)
    }
    names, labels, predicted, probabilities, digests = [], [], [], [], []
    for line, row in enumerate(rows, start=2):
        if len(row) != len(columns):
            raise ValueError(f"row {line} has {len(row)} columns instead of {len(columns)}")
        name, label, prediction, probability, *digest = row
        if label not in index or prediction not in index:
            raise ValueError(f"row {line} has a class that the data set does not have")
        names.append(name)
        labels.append(index[label])
        predicted.append(index[prediction])
        probabilities.append(_probability(probability, line))
        digests += digest
    return ReadPredictions(
        tuple(names), tuple(labels), tuple(predicted), tuple(probabilities), tuple(digests), len(classes)
    )


def _probability(text: str, line: int) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:
        raise ValueError(f"row {line} must have a probability from 0 to 1, got {text!r:.40}")
    return value
