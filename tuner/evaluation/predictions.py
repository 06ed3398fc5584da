"""predictions.csv.gz: the best model's prediction for every test image.

The columns are `name, label, prediction, probability`: the image's file name, its class, the predicted class, and the
probability of the predicted class. A probability has as few digits as are needed to read back the same 64-bit float.
Accuracy and confusion matrix can be computed from the file exactly. With two classes, the ROC AUC can be computed, too:
the score of the second class is `probability` if that class was predicted, else 1 - `probability`.
"""

import csv
import gzip
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tuner.evaluation.scores import Labels, Probabilities

COLUMNS = ("name", "label", "prediction", "probability")


@dataclass(frozen=True)
class Predictions:
    """A model's predictions for n images."""

    predicted: NDArray[np.intp]
    """Index of the predicted class, (n,)."""

    probability: NDArray[np.float64]
    """Probability of the predicted class, (n,)."""

    by_class: NDArray[np.float64]
    """Probability of every class, (n, classes)."""


def predictions(probabilities: Probabilities) -> Predictions:
    """Return the predictions that follow from `probabilities` (n, classes). Ties go to the first class.

    So a single sigmoid predicts the second class above 0.5, as Keras's binary accuracy does. With two classes, the
    larger probability is adjusted so that both sum to exactly 1. Then `probability` alone determines both.
    """
    predicted = probabilities.argmax(axis=1)
    rows = np.arange(len(predicted))
    by_class = probabilities.astype(np.float64)
    if by_class.shape[1] == 2:
        by_class[rows, predicted] = 1 - by_class[rows, 1 - predicted]
        by_class[rows, 1 - predicted] = 1 - by_class[rows, predicted]
    return Predictions(predicted, by_class[rows, predicted], by_class)


def to_csv_gz(names: Sequence[str], labels: Labels, predictions: Predictions, classes: Sequence[str]) -> bytes:
    """Return the file's bytes; the same predictions give the same bytes."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for name, label, prediction, probability in zip(
        names, labels.tolist(), predictions.predicted.tolist(), predictions.probability.tolist(), strict=True
    ):
        writer.writerow((name, classes[label], classes[prediction], repr(probability)))
    return gzip.compress(text.getvalue().encode(), mtime=0)
