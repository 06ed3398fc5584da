"""Calibration: what is known of made-up probabilities is found."""

import numpy as np
import pytest
from numpy.typing import NDArray

from tuner.evaluation.calibration import (
    at_temperature,
    bins_of,
    calibration,
    calibration_error,
    fit_temperature,
    reliability,
)
from tuner.evaluation.result import Fit
from tuner.report.calibration_text import calibration_line

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
    temperature = fit_temperature(labels, probabilities)
    assert temperature.best == pytest.approx(factor, rel=0.05)
    assert temperature.interval_95[0] < factor < temperature.interval_95[1]
    assert temperature.fit is (Fit.NOT_NEEDED if factor == 1 else Fit.FITTED)


def test_the_interval_of_the_temperature_holds_it_19_times_in_20() -> None:
    temperatures = [fit_temperature(*drawn(300, 2, 1.0, seed)) for seed in range(200)]
    covered = sum(temperature.interval_95[0] <= 1 <= temperature.interval_95[1] for temperature in temperatures)
    assert 180 <= covered <= 198


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
    result = calibration(*validation, *test)
    assert result.temperature == fit_temperature(*validation).best
    assert result.fit is Fit.FITTED
    assert result.fitted_on_images == 10_000
    assert result.error > 0.1
    assert result.error_at_temperature < 0.02
    assert sum(bin_.images for bin_ in result.bins) == 10_000


@pytest.mark.parametrize("mistakes", [0, 1, 9])
def test_a_model_of_few_mistakes_is_not_made_surer_than_it_is(mistakes: int) -> None:
    """Of none the best temperature is 0, and 80 % would become 99.998 %."""
    labels = np.arange(200) % 2
    confidence = np.random.default_rng(0).uniform(0.55, 0.99, 200)
    confidence[:mistakes] = 1 - confidence[:mistakes]
    probabilities = np.where(labels[:, None] == np.arange(2), confidence[:, None], 1 - confidence[:, None])
    result = calibration(labels, probabilities, labels, probabilities)
    assert (result.temperature, result.fit) == (1.0, Fit.TOO_FEW_MISTAKES)
    assert (result.fitted_on_mistakes, result.fitted_on_images) == (mistakes, 200)
    assert result.error_at_temperature == result.error
    assert "mistake" in calibration_line(result)


def test_a_model_that_is_too_sure_is_softened_though_its_mistakes_are_few() -> None:
    labels = np.zeros(200, int)
    probabilities = np.tile([0.999, 0.001], (200, 1))
    labels[:8] = 1
    result = calibration(labels, probabilities, labels, probabilities)
    assert result.fit is Fit.FITTED
    assert at_temperature(probabilities, result.temperature)[0, 0] == pytest.approx(0.96, abs=0.001)


def test_a_temperature_at_a_bound_is_said_to_be_no_good_fit() -> None:
    labels = np.arange(400) % 2
    probabilities = np.tile([0.9999, 0.0001], (400, 1))  # and right half the time
    result = calibration(labels, probabilities, labels, probabilities)
    assert result.fit is Fit.AT_BOUND
    assert result.temperature == pytest.approx(8, rel=0.01)
    assert "the limit of those tried" in calibration_line(result)


def test_too_few_images_to_tell_leave_the_probabilities_as_they_are() -> None:
    result = calibration(*drawn(30, 2, 1.3), *drawn(1000, 2, 1.3, seed=2))
    assert (result.temperature, result.fit) == (1.0, Fit.NOT_NEEDED)
    assert result.temperature_interval_95 is not None
    assert result.temperature_interval_95[0] < 1 < result.temperature_interval_95[1]
    assert "do not distinguish the best temperature from 1" in calibration_line(result)
