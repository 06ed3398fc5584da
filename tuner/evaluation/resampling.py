"""Uncertainty of the evaluation: bootstrap intervals, and a paired test of two models on the same images."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from tuner.evaluation.calibration import BINS, bins_of
from tuner.evaluation.result import Bootstrap
from tuner.evaluation.scores import SMALLEST_PROBABILITY, Interval, Labels, Probabilities

RESAMPLES = 1000
MOST_CLASSES = 10
"""Maximum number of classes for resampling the area under the ROC curves. Each class takes 0.2 s for 20,000 images."""

Counts = NDArray[np.int64]


def bootstrap(labels: Labels, probabilities: Probabilities, seed: int) -> Bootstrap:
    """Return 95 % percentile intervals from resampling the images with replacement."""
    images, classes = probabilities.shape
    rows = np.arange(images)
    confidence, right = probabilities.max(axis=1), (probabilities.argmax(axis=1) == labels).astype(np.float64)
    loss = -np.log(np.clip(probabilities[rows, labels], SMALLEST_PROBABILITY, 1.0))
    index, gap = bins_of(confidence), confidence - right
    scored = [1] if classes == 2 else range(classes)
    auc = classes <= MOST_CLASSES and len(np.unique(labels)) == classes
    areas = [_area(labels == class_, probabilities[:, class_]) for class_ in scored] if auc else []

    generator = np.random.default_rng(seed)
    draws: dict[str, list[float]] = {"accuracy": [], "log_loss": [], "calibration_error": [], "roc_auc": []}
    for _ in range(RESAMPLES):
        counts = np.bincount(generator.integers(images, size=images), minlength=images)
        # `@` is not used because its waiting threads would occupy cores that other processes need
        draws["accuracy"].append(float((counts * right).sum()) / images)
        draws["log_loss"].append(float((counts * loss).sum()) / images)
        gaps = np.bincount(index, weights=counts * gap, minlength=BINS)
        draws["calibration_error"].append(float(np.abs(gaps).sum()) / images)
        if areas:
            draws["roc_auc"].append(float(np.mean([area(counts) for area in areas])))
    return Bootstrap(
        resamples=RESAMPLES,
        seed=seed,
        accuracy=_percentiles(draws["accuracy"]),
        log_loss=_percentiles(draws["log_loss"]),
        calibration_error=_percentiles(draws["calibration_error"]),
        roc_auc=_percentiles(draws["roc_auc"]) if areas else None,
    )


def exact_mcnemar(only_first: int, only_second: int) -> float:
    """Return the two-sided p-value of McNemar's exact test on the images that only one of two models got right."""
    from scipy.stats import binomtest

    disagreed = only_first + only_second
    return float(binomtest(only_first, disagreed, 0.5).pvalue) if disagreed else 1.0


def paired_difference(only_first: int, only_second: int, images: int) -> Interval:
    """Return the 95 % interval of the difference in accuracy of two models on the same images.

    The method is that of Bonett & Price 2012 (https://doi.org/10.3102/1076998611411915): Wald's interval with one image
    added to each kind of disagreement. Its coverage is 95 % even for few images.
    """
    first, second = (only_first + 1) / (images + 2), (only_second + 1) / (images + 2)
    half = 1.959964 * np.sqrt((first + second - (first - second) ** 2) / (images + 2))
    return max(-1.0, float(first - second - half)), min(1.0, float(first - second + half))


def _percentiles(values: list[float]) -> Interval:
    low, high = np.nanpercentile(values, (2.5, 97.5))
    return float(low), float(high)


def _area(positive: NDArray[np.bool_], scores: NDArray[np.floating]) -> Callable[[Counts], float]:
    """Return a function that returns the area under the ROC curve, given how often each image counts.

    The images are sorted only once. Pairs of equal scores count half. The area is NaN if one side has no image.
    """
    order = np.argsort(scores, kind="stable")
    ordered, is_positive = scores[order], positive[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])

    def area(counts: Counts) -> float:
        weight = counts[order]
        above = np.add.reduceat(weight * is_positive, starts)
        below = np.add.reduceat(weight * ~is_positive, starts)
        pairs = above.sum() * below.sum()
        if not pairs:
            return float("nan")
        return float((above * (np.cumsum(below) - 0.5 * below)).sum() / pairs)

    return area
