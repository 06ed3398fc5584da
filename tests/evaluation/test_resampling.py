"""Bootstrap intervals and the paired test, against what the textbooks' formulas say."""

import numpy as np
import pytest
from scipy.stats import binom

from tuner.evaluation import scores
from tuner.evaluation.calibration import calibration_error
from tuner.evaluation.resampling import bootstrap, exact_mcnemar, paired_difference


def random_predictions(images: int = 3000, classes: int = 2) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    labels = rng.integers(classes, size=images)
    logits = rng.normal(size=(images, classes)) + 1.5 * np.eye(classes)[labels]
    return labels, np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)


@pytest.mark.parametrize("classes", [2, 4])
def test_each_interval_is_around_its_estimate_and_that_of_the_accuracy_is_near_wilsons(classes: int) -> None:
    labels, probabilities = random_predictions(classes=classes)
    intervals = bootstrap(labels, probabilities, seed=1)
    right = int((probabilities.argmax(axis=1) == labels).sum())
    wilson = scores.wilson_interval(right, len(labels))
    assert intervals.accuracy == pytest.approx(wilson, abs=0.003)
    auc = scores.roc_auc(labels, probabilities)
    assert intervals.roc_auc is not None
    assert auc is not None
    assert intervals.roc_auc[0] < auc < intervals.roc_auc[1]
    assert intervals.log_loss[0] < scores.log_loss(labels, probabilities) < intervals.log_loss[1]
    assert intervals.calibration_error[1] > calibration_error(labels, probabilities)
    assert bootstrap(labels, probabilities, seed=1) == intervals, "the seed decides"
    assert bootstrap(labels, probabilities, seed=2) != intervals


def test_the_interval_of_the_area_is_as_wide_as_hanley_and_mcneil_say() -> None:
    labels, probabilities = random_predictions(4000)
    interval = bootstrap(labels, probabilities, seed=1).roc_auc
    auc = scores.roc_auc(labels, probabilities)
    assert interval is not None
    assert auc is not None
    positive, negative = int(labels.sum()), int((1 - labels).sum())
    q1, q2 = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    variance = auc * (1 - auc) + (positive - 1) * (q1 - auc**2) + (negative - 1) * (q2 - auc**2)
    error = np.sqrt(variance / (positive * negative))
    assert interval[1] - interval[0] == pytest.approx(2 * 1.96 * error, rel=0.15)


def test_equal_scores_count_half() -> None:
    labels = np.array([0, 1] * 500)
    assert bootstrap(labels, np.full((1000, 2), 0.5), seed=1).roc_auc == (0.5, 0.5)


def test_a_class_without_images_leaves_no_area() -> None:
    labels, probabilities = random_predictions()
    assert bootstrap(np.zeros_like(labels), probabilities, seed=1).roc_auc is None


def test_mcnemars_p_is_the_binomials() -> None:
    assert exact_mcnemar(4, 12) == pytest.approx(2 * binom.cdf(4, 16, 0.5))
    assert exact_mcnemar(12, 4) == exact_mcnemar(4, 12)
    assert exact_mcnemar(0, 0) == 1.0, "models that agree on every image"
    assert exact_mcnemar(300, 300) == pytest.approx(1.0)


def test_the_paired_interval_holds_the_true_difference_nearly_always() -> None:
    rng = np.random.default_rng(0)
    first_only, second_only, images = 0.05, 0.03, 800
    covered = 0
    for _ in range(2000):
        b, c, _rest = rng.multinomial(images, [first_only, second_only, 1 - first_only - second_only])
        low, high = paired_difference(b, c, images)
        covered += low <= first_only - second_only <= high
    assert 0.935 < covered / 2000 < 0.97
