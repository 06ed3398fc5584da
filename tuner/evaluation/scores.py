"""The statistics of an evaluation: pure functions of labels, predictions and probabilities.

Labels and predictions are integer arrays of shape (n,) that index the classes; probabilities are float arrays
of shape (n, classes). scikit-learn and scipy are imported where they are used: together they take a second.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.integer[Any]]
Probabilities = NDArray[np.floating[Any]]
Interval = tuple[float, float]

SMALLEST_PROBABILITY = 1e-7  # Keras's epsilon: one image that is wrong for certain must not make the loss infinite


class ClassScores(NamedTuple):
    """How well one class is told from the others; 0.0 where nothing was there to divide by."""

    precision: float
    recall: float
    f1: float
    support: int  # images of this class


def wilson_interval(correct: int, images: int, confidence: float = 0.95) -> Interval:
    """Return the interval that holds the true accuracy with `confidence`, where `correct` of `images` were.

    Wilson's interval (1927): it stays within 0 and 1, and is right for few images and for accuracies near 1,
    where the normal approximation is not.
    """
    from scipy.stats import binomtest

    found = binomtest(int(correct), int(images)).proportion_ci(confidence_level=confidence, method="wilson")
    return float(found.low), float(found.high)


def confusion_matrix(labels: Labels, predictions: Labels, classes: int) -> list[list[int]]:
    """Return counts of images; rows are the truth, columns the prediction."""
    from sklearn.metrics import confusion_matrix as count

    matrix: list[list[int]] = count(labels, predictions, labels=range(classes)).tolist()
    return matrix


def class_scores(labels: Labels, predictions: Labels, classes: int) -> list[ClassScores]:
    """Return precision, recall and F1 of each class, one against the rest."""
    from sklearn.metrics import precision_recall_fscore_support

    columns = precision_recall_fscore_support(labels, predictions, labels=range(classes), zero_division=0.0)
    return [ClassScores(float(p), float(r), float(f), int(s)) for p, r, f, s in zip(*columns, strict=True)]


def roc_auc(labels: Labels, probabilities: Probabilities) -> float | None:
    """Return the area under the ROC curve: how often a class's image gets more of its probability than another's.

    Equal probabilities count half. Two classes: of the second one's probability. More: the mean over the
    classes, each against the rest. None where a class has no image, which leaves nothing to compare.
    """
    from sklearn.metrics import roc_auc_score

    classes = probabilities.shape[1]
    if len(np.unique(labels)) < classes:
        return None
    scored = [1] if classes == 2 else range(classes)
    return float(np.mean([roc_auc_score(labels == index, probabilities[:, index]) for index in scored]))


def log_loss(labels: Labels, probabilities: Probabilities) -> float:
    """Return the mean of -log(probability of the true class), in nats, as Keras's crossentropies."""
    true = probabilities[np.arange(len(labels)), labels]
    return float(-np.log(np.clip(true, SMALLEST_PROBABILITY, 1.0)).mean())
