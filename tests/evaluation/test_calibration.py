"""Calibration: what is known of made-up probabilities is found."""

import numpy as np
import pytest
from numpy.typing import NDArray

from tuner.report.calibration import (
    at_temperature,
    bins_of,
    calibration,
    calibration_error,
    fit_temperature,
    reliability,
)

Drawn = tuple[NDArray[np.intp], NDArray[np.float64]]


def drawn(images: int, classes: int, overconfident: float, seed: int = 0) -> Drawn:
    """Labels that follow from honest probabilities, and these with their logits multiplied."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 1.5, (images, classes))
    honest = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = (honest.cumsum(axis=1) > rng.random((images, 1))).argmax(axis=1)
    loud = np.exp(overconfident * logits)
    return labels, loud / loud.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("classes", [2, 5])
@pytest.mark.parametrize("factor", [0.5, 1.0, 2.5])
def test_the_temperature_undoes_what_was_done_to_the_logits(classes: int, factor: float) -> None:
    labels, probabilities = drawn(20_000, classes, factor)
    assert fit_temperature(labels, probabilities) == pytest.approx(factor, rel=0.05)


def test_a_temperature_changes_how_sure_a_model_is_and_not_what_it_predicts() -> None:
    _, probabilities = drawn(1000, 3, 1.0)
    softer = at_temperature(probabilities, 2.0)
    np.testing.assert_allclose(softer.sum(axis=1), 1)
    assert (softer.argmax(axis=1) == probabilities.argmax(axis=1)).all()
    assert (softer.max(axis=1) <= probabilities.max(axis=1)).all()
    np.testing.assert_allclose(at_temperature(probabilities, 1.0), probabilities)


def test_the_error_is_that_of_the_definition() -> None:
    # 10 images at 0.95 of which 8 are right, 5 at 0.65 of which 4 are: 10/15 * |0.8 - 0.95| + 5/15 * |0.8 - 0.65|
    confidence = np.array([0.95] * 10 + [0.65] * 5)
    labels = np.array([0] * 8 + [1] * 2 + [0] * 4 + [1])
    probabilities = np.stack([confidence, 1 - confidence], axis=1)
    assert calibration_error(labels, probabilities) == pytest.approx(0.15)
    low, high = reliability(labels, probabilities)
    assert (low.images, low.accuracy, high.images, high.accuracy) == (5, 0.8, 10, 0.8)
    assert high.low < 0.95 <= high.high


def test_every_confidence_has_one_bin() -> None:
    assert bins_of(np.array([0.0, 1e-9, 1 / 15, 0.5, 1.0])).tolist() == [0, 0, 0, 7, 14]


def test_only_the_validation_images_decide_the_temperature_and_the_test_images_are_better_for_it() -> None:
    validation, test = drawn(10_000, 2, 3.0, seed=1), drawn(10_000, 2, 3.0, seed=2)
    found = calibration(*validation, *test)
    assert found.temperature == fit_temperature(*validation)
    assert found.fitted_on_images == 10_000
    assert found.error > 0.1
    assert found.error_at_temperature < 0.02
    assert sum(each.images for each in found.bins) == 10_000


def test_a_model_that_is_always_right_leaves_a_finite_temperature() -> None:
    labels = np.array([0, 1] * 50)
    probabilities = np.where(labels[:, None] == np.arange(2), 0.9, 0.1)
    found = calibration(labels, probabilities, labels, probabilities)
    assert 0.1 < found.temperature < 0.2, "as sure as it may become"
    assert np.isfinite(found.log_loss_at_temperature)
