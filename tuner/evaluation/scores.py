"""Scores of an evaluation: pure functions of labels, predictions and probabilities.

Labels and predictions are integer arrays of shape (n,) that index the classes; probabilities are float arrays
of shape (n, classes). Functions import scikit-learn and scipy themselves because importing both takes a
second.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.integer[Any]]
Probabilities = NDArray[np.floating[Any]]
Interval = tuple[float, float]

SMALLEST_PROBABILITY = 1e-7  # Keras's epsilon, so that one confidently wrong image does not make the loss infinite


class ClassScores(NamedTuple):
    """Precision, recall and F1 of one class against the rest. A score is 0.0 if it would be a division by zero."""

    precision: float
    recall: float
    f1: float
    support: int  # images of this class


def wilson_interval(correct: int, images: int, confidence: float = 0.95) -> Interval:
    """Return the interval that contains the true accuracy with `confidence`, given `correct` of `images`.

    Wilson's interval (1927): unlike the normal approximation, it stays within 0 and 1 and holds for few images and for
    accuracies near 1.
    """
    from scipy.stats import binomtest

    interval = binomtest(int(correct), int(images)).proportion_ci(confidence_level=confidence, method="wilson")
    return float(interval.low), float(interval.high)


def confusion_matrix(labels: Labels, predictions: Labels, classes: int) -> list[list[int]]:
    """Return numbers of images. Rows are the truth, columns the prediction."""
    pairs = labels.astype(np.intp) * classes + predictions.astype(np.intp)
    matrix: list[list[int]] = np.bincount(pairs, minlength=classes * classes).reshape(classes, classes).tolist()
    return matrix


def class_scores(labels: Labels, predictions: Labels, classes: int) -> list[ClassScores]:
    """Return precision, recall and F1 of each class, one against the rest."""
    from sklearn.metrics import precision_recall_fscore_support

    columns = precision_recall_fscore_support(labels, predictions, labels=range(classes), zero_division=0.0)
    return [ClassScores(float(p), float(r), float(f), int(s)) for p, r, f, s in zip(*columns, strict=True)]


def roc_auc(labels: Labels, probabilities: Probabilities) -> float | None:
    """Return the area under the ROC curve: how often an image of a class gets a higher probability than another image.

    Ties count half. With two classes, it is computed from the second class's probability. With more, it is the mean
    over the classes, each against the rest. None if a class has no image.
    """
    classes = probabilities.shape[1]
    if len(np.unique(labels)) < classes:
        return None
    scored = [1] if classes == 2 else range(classes)
    return float(np.mean([_area(labels == index, probabilities[:, index]) for index in scored]))


def _area(positive: NDArray[np.bool_], scores: NDArray[np.floating[Any]]) -> float:
    """Return the area under the ROC curve of one class, from the ranks of its images among the others.

    Sorting once and searching takes a tenth of the time of scikit-learn's function, which matters for many classes.
    """
    ours, others = scores[positive], np.sort(scores[~positive])
    below, up_to = np.searchsorted(others, ours, side="left"), np.searchsorted(others, ours, side="right")
    return float((below + up_to).sum() / 2 / (len(ours) * len(others)))


def log_loss(labels: Labels, probabilities: Probabilities) -> float:
    """Return the mean of -log(probability of the true class), in nats, as in Keras's crossentropies."""
    true = probabilities[np.arange(len(labels)), labels]
    return float(0 - np.log(np.clip(true, SMALLEST_PROBABILITY, 1.0)).mean())  # not -0.0 if all are certain
