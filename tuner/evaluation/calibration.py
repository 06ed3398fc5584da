"""Calibration: whether a model is right as often as it says; and the temperature that mends most of it.

After Guo et al. 2017 (https://arxiv.org/abs/1706.04599). Confidence is the probability of the class predicted.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tuner.evaluation.result import Bin, Calibration, Fit
from tuner.evaluation.scores import SMALLEST_PROBABILITY, Interval, Labels, Probabilities, log_loss, wilson_interval

BINS = 15
"""Of equal width between 0 and 1, as in the paper: the error is comparable with those that others report."""
LARGEST_TEMPERATURE = 8.0
"""And its inverse is the smallest: beyond, a few images decide."""
LEAST_MISTAKES = 10
"""To make a model surer of itself: how often it errs is known to a third from ten mistakes, and of none the best
temperature is 0, which makes each answer certain."""
HALF_CHI_SQUARE = 1.920729
"""Half of the 95 % quantile of chi-square with one degree of freedom."""


@dataclass(frozen=True)
class Temperature:
    """What the validation images say of it."""

    best: float
    interval_95: Interval
    mistakes: int

    @property
    def fit(self) -> Fit:
        """What is to be done with it."""
        low, high = self.interval_95
        if low <= 1 <= high:
            return Fit.NOT_NEEDED
        if self.best < 1 and self.mistakes < LEAST_MISTAKES:
            return Fit.TOO_FEW_MISTAKES
        within = 1.01 / LARGEST_TEMPERATURE < self.best < LARGEST_TEMPERATURE / 1.01
        return Fit.FITTED if within else Fit.AT_BOUND


def calibration(
    validation_labels: Labels, validation: Probabilities, test_labels: Labels, test: Probabilities
) -> Calibration:
    """Return how well the probabilities of the test images are calibrated, as they are and at the temperature.

    The temperature is fitted on the validation images alone, and 1 where they do not say that it is another.
    """
    found = fit_temperature(validation_labels, validation)
    temperature = found.best if found.fit in (Fit.FITTED, Fit.AT_BOUND) else 1.0
    after = test if temperature == 1 else at_temperature(test, temperature)
    return Calibration(
        temperature=temperature,
        fit=found.fit,
        temperature_interval_95=found.interval_95,
        fitted_on_images=len(validation_labels),
        fitted_on_mistakes=found.mistakes,
        error=calibration_error(test_labels, test),
        error_at_temperature=calibration_error(test_labels, after),
        log_loss_at_temperature=log_loss(test_labels, after),
        bins=reliability(test_labels, test),
        bins_at_temperature=reliability(test_labels, after),
    )


def fit_temperature(labels: Labels, probabilities: Probabilities) -> Temperature:
    """Return the temperature that gives these labels the smallest log loss; above 1 the model was too sure.

    Its interval holds those that a likelihood-ratio test does not refuse: the loss has one minimum, so it is one piece.
    """
    from scipy.optimize import brentq, minimize_scalar

    def loss(log_temperature: float) -> float:
        return len(labels) * log_loss(labels, at_temperature(probabilities, float(np.exp(log_temperature))))

    bound = float(np.log(LARGEST_TEMPERATURE))
    best = float(minimize_scalar(loss, bounds=(-bound, bound), method="bounded").x)
    most = loss(best) + HALF_CHI_SQUARE

    def end(at: float) -> float:
        inside = loss(at) <= most
        return float(np.exp(at if inside else brentq(lambda each: loss(each) - most, at, best, xtol=1e-4)))

    mistakes = int((probabilities.argmax(axis=1) != labels).sum())
    return Temperature(float(np.exp(best)), (end(-bound), end(bound)), mistakes)


def at_temperature(probabilities: Probabilities, temperature: float) -> NDArray[np.float64]:
    """Return softmax(log(probabilities) / temperature), (n, classes): what a temperature on the logits does.

    The class predicted stays the same.
    """
    logs = np.log(np.clip(probabilities.astype(np.float64), SMALLEST_PROBABILITY, 1.0)) / temperature
    raised = np.exp(logs - logs.max(axis=1, keepdims=True))
    scaled: NDArray[np.float64] = raised / raised.sum(axis=1, keepdims=True)
    return scaled


def bins_of(confidence: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return which bin each confidence is in: those of (low, high]."""
    return np.clip(np.ceil(confidence * BINS).astype(np.intp) - 1, 0, BINS - 1)


def calibration_error(labels: Labels, probabilities: Probabilities) -> float:
    """Return the expected calibration error: how far accuracy and confidence of a bin are apart, mean over images."""
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    gaps = np.bincount(bins_of(confidence), weights=confidence - right, minlength=BINS)
    return float(np.abs(gaps).sum() / len(labels))


def reliability(labels: Labels, probabilities: Probabilities) -> tuple[Bin, ...]:
    """Return the bins that hold images, the least confident first."""
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    index = bins_of(confidence)
    found = []
    for bin_ in range(BINS):
        inside = index == bin_
        images, correct = int(inside.sum()), int(right[inside].sum())
        if images:
            found.append(
                Bin(
                    low=bin_ / BINS,
                    high=(bin_ + 1) / BINS,
                    images=images,
                    confidence=float(confidence[inside].mean()),
                    accuracy=correct / images,
                    accuracy_interval_95=wilson_interval(correct, images),
                )
            )
    return tuple(found)
