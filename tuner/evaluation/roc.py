"""ROC curves, reduced to as many points as a picture can show."""

from collections.abc import Sequence

import numpy as np

from tuner.evaluation.result import RocCurve
from tuner.evaluation.scores import Labels, Probabilities

POINTS = 200
MOST_CLASSES = 10


def roc_curves(labels: Labels, probabilities: Probabilities, classes: Sequence[str]) -> dict[str, RocCurve]:
    """Return a curve by class: for the second of two classes, or for each of up to ten.

    A class that no image or every image belongs to has no curve. With more than ten classes there are no curves,
    because they could not be distinguished.
    """
    from sklearn.metrics import roc_curve

    curves: dict[str, RocCurve] = {}
    if len(classes) > MOST_CLASSES:
        return curves
    for index in [1] if len(classes) == 2 else range(len(classes)):
        truth = labels == index
        if truth.all() or not truth.any():
            continue
        false_positive, true_positive, _ = roc_curve(truth, probabilities[:, index])
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
