"""Each statistic against values worked out by hand, or by brute force."""

import itertools
import math

import numpy as np
import pytest

from tuner.evaluation import scores as statistics
from tuner.evaluation.roc import roc_curves


def by_hand_wilson(correct: int, images: int) -> tuple[float, float]:
    z = 1.959963984540054
    share = correct / images
    centre = (share + z * z / (2 * images)) / (1 + z * z / images)
    half = z / (1 + z * z / images) * math.sqrt(share * (1 - share) / images + z * z / (4 * images * images))
    return centre - half, centre + half


@pytest.mark.parametrize(("correct", "images"), [(18_624, 20_000), (1, 2), (7, 9), (0, 10), (10, 10), (1, 1), (0, 1)])
def test_wilsons_interval_is_the_formulas(correct: int, images: int) -> None:
    assert statistics.wilson_interval(correct, images) == pytest.approx(by_hand_wilson(correct, images), abs=1e-12)


def test_wilsons_interval_never_leaves_0_and_1_and_always_holds_the_accuracy() -> None:
    for images in (1, 2, 5, 378):
        for correct in range(images + 1):
            low, high = statistics.wilson_interval(correct, images)
            assert 0 <= low <= correct / images <= high <= 1
            assert low < high


def test_a_published_value_of_wilsons_interval() -> None:
    # Newcombe 1998, Statistics in Medicine 17, table I: 81 of 263, method 3 (score): 0.2553 to 0.3662
    low, high = statistics.wilson_interval(81, 263)
    assert (round(low, 4), round(high, 4)) == (0.2553, 0.3662)


def test_rows_of_the_confusion_matrix_are_the_truth() -> None:
    labels = np.array([0, 0, 0, 1, 1, 2], np.uint8)
    predictions = np.array([0, 1, 1, 1, 0, 2])
    assert statistics.confusion_matrix(labels, predictions, 3) == [[1, 2, 0], [1, 1, 0], [0, 0, 1]]


def test_a_class_without_images_and_predictions_keeps_its_row_and_column() -> None:
    assert statistics.confusion_matrix(np.array([1]), np.array([1]), 3) == [[0, 0, 0], [0, 1, 0], [0, 0, 0]]


def test_precision_recall_and_f1_by_hand() -> None:
    labels = np.array([0, 0, 0, 0, 1, 1, 1, 1, 1, 1])
    predictions = np.array([0, 0, 0, 1, 0, 0, 1, 1, 1, 1])
    first, second = statistics.class_scores(labels, predictions, 2)
    assert first == pytest.approx((3 / 5, 3 / 4, 2 * (3 / 5) * (3 / 4) / (3 / 5 + 3 / 4), 4))
    assert second == pytest.approx((4 / 5, 4 / 6, 2 * (4 / 5) * (4 / 6) / (4 / 5 + 4 / 6), 6))


def test_a_class_never_predicted_has_precision_0_and_no_warning(recwarn: pytest.WarningsRecorder) -> None:
    scores = statistics.class_scores(np.array([0, 1, 2]), np.array([0, 0, 0]), 4)
    assert scores[1] == (0.0, 0.0, 0.0, 1)
    assert scores[3] == (0.0, 0.0, 0.0, 0), "neither predicted nor there"
    assert not recwarn.list


def pairs_won(positive: list[float], negative: list[float]) -> float:
    return sum((p > n) + 0.5 * (p == n) for p, n in itertools.product(positive, negative)) / (
        len(positive) * len(negative)
    )


def test_roc_auc_is_the_share_of_pairs_won_and_a_tie_is_half() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 200)
    second = np.round(rng.random(200), 1)  # many ties
    expected = pairs_won(second[labels == 1].tolist(), second[labels == 0].tolist())
    assert statistics.roc_auc(labels, np.stack([1 - second, second], axis=1)) == pytest.approx(expected)


def test_roc_auc_of_a_constant_is_one_half() -> None:
    assert statistics.roc_auc(np.array([0, 0, 1]), np.full((3, 2), 0.5)) == 0.5


def test_roc_auc_of_three_classes_is_the_mean_of_each_against_the_rest() -> None:
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 3, 90)
    probabilities = rng.dirichlet([1, 1, 1], 90).astype(np.float32)  # sums to 1 in float32 only
    expected = np.mean(
        [pairs_won(probabilities[labels == k, k].tolist(), probabilities[labels != k, k].tolist()) for k in range(3)]
    )
    assert statistics.roc_auc(labels, probabilities) == pytest.approx(expected)


def test_roc_auc_needs_images_of_every_class(recwarn: pytest.WarningsRecorder) -> None:
    assert statistics.roc_auc(np.array([1]), np.array([[0.2, 0.8]])) is None
    assert not recwarn.list


def test_log_loss_by_hand_and_finite_where_the_model_was_certain_and_wrong() -> None:
    probabilities = np.array([[0.25, 0.75], [0.5, 0.5]])
    assert statistics.log_loss(np.array([1, 0]), probabilities) == pytest.approx(-(math.log(0.75) + math.log(0.5)) / 2)
    assert statistics.log_loss(np.array([0]), np.array([[0.0, 1.0]])) == pytest.approx(-math.log(1e-7))
    assert str(statistics.log_loss(np.array([0]), np.array([[1.0, 0.0]]))) == "0.0"


# ---- ROC curves -------------------------------------------------------------------------------------
@pytest.mark.parametrize("classes", [2, 4])
def test_a_thinned_curve_goes_from_corner_to_corner_and_keeps_its_area(classes: int) -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(classes, size=5000)
    scores = rng.random((5000, classes)) + 0.4 * np.eye(classes)[labels]
    probabilities = scores / scores.sum(axis=1, keepdims=True)
    curves = roc_curves(labels, probabilities, [f"class {index}" for index in range(classes)])
    assert list(curves) == (["class 1"] if classes == 2 else [f"class {index}" for index in range(4)])
    areas = []
    for curve in curves.values():
        x, y = curve.false_positive_rate, curve.true_positive_rate
        assert (x[0], y[0], x[-1], y[-1]) == (0, 0, 1, 1)
        assert 100 < len(x) <= 200
        areas.append(np.trapezoid(y, x))
    assert np.mean(areas) == pytest.approx(statistics.roc_auc(labels, probabilities), abs=0.002)


def test_curves_need_images_on_both_sides_and_no_more_classes_than_can_be_told_apart() -> None:
    probabilities = np.full((10, 2), 0.5)
    assert roc_curves(np.zeros(10, int), probabilities, ("a", "b")) == {}
    assert roc_curves(np.arange(11), np.eye(11), [str(index) for index in range(11)]) == {}
