"""ROC curves, reduced to as many points as a picture can show."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuner.evaluation.result import RocCurve
from tuner.evaluation.scores import Labels, Probabilities

POINTS = 200
MOST_CLASSES = 10


def roc_curves(labels: Labels, probabilities: Probabilities, classes: Sequence[str]) -> dict[str, RocCurve]:
    """Return a curve by class: for the second of two classes, or for each of up to ten.

    A class that no image or every image belongs to has no curve. With more than ten classes there are no curves,
    because they could not be distinguished.
    """
    curves: dict[str, RocCurve] = {}
    if len(classes) > MOST_CLASSES:
        return curves
    for index in [1] if len(classes) == 2 else range(len(classes)):
        truth = labels == index
        if truth.all() or not truth.any():
            continue
        false_positive, true_positive = _rates(truth, probabilities[:, index])
        if len(false_positive) > POINTS:
            # evenly along the curve, not along one axis, so that steep and flat parts keep their shape
            along = np.concatenate([[0.0], np.cumsum(np.diff(false_positive) + np.diff(true_positive))])
            kept = np.unique(np.searchsorted(along, np.linspace(0, along[-1], POINTS)).clip(0, len(along) - 1))
            false_positive, true_positive = false_positive[kept], true_positive[kept]
        curves[classes[index]] = RocCurve(
            false_positive_rate=tuple(false_positive.round(6).tolist()),
            true_positive_rate=tuple(true_positive.round(6).tolist()),
        )
    return curves


def _rates(truth: NDArray[np.bool_], scores: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Return the false and the true positive rates (2, n) at the scores, the highest first, where the curve bends.

    Importing scikit-learn only for its function of this purpose would delay every evaluation.
    """
    order = np.argsort(-scores, kind="stable")
    last_of_equals = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)
    positives = np.cumsum(truth[order])[last_of_equals]
    counts = np.pad(np.stack([last_of_equals + 1 - positives, positives]), ((0, 0), (1, 0)))
    bends = np.diff(counts, 2).any(axis=0)
    counts = counts[:, np.concatenate([[True], bends, [True]])]
    rates: NDArray[np.float64] = counts / counts[:, -1:]
    return rates
