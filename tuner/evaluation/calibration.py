"""Calibration: whether a model's confidence matches its accuracy, and the temperature that corrects most of it.

The method is that of Guo et al. 2017 (https://arxiv.org/abs/1706.04599). Confidence is the probability of the
predicted class.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tuner.evaluation.result import Bin, Calibration, Fit
from tuner.evaluation.scores import SMALLEST_PROBABILITY, Interval, Labels, Probabilities, log_loss, wilson_interval

BINS = 15
"""Number of bins of equal width between 0 and 1, as in the paper, so that the error is comparable to published ones."""
LARGEST_TEMPERATURE = 8.0
"""Largest temperature that is tried. The smallest is its inverse. Beyond these limits, a few images would decide."""
LEAST_MISTAKES = 10
"""Minimum number of mistakes for a temperature below 1. Ten mistakes determine the error rate to within a third.
Without any mistakes, the best temperature would be 0, which makes every prediction certain."""
MOST_VALUES = 5_000_000
"""Maximum number of probabilities on which the temperature is fitted, which takes a few seconds. Of more, for example
of 10,000 images of 1,000 classes, every second image or fewer are used. The interval says how exact the fit is."""
AT_ONCE = 50_000
"""Number of probabilities that one step handles at a time: 400 kB, which fits into a core's cache."""
HALF_CHI_SQUARE = 1.920729
"""Half of the 95 % quantile of chi-square with one degree of freedom."""


@dataclass(frozen=True)
class Temperature:
    """The temperature estimated from the validation images."""

    best: float
    interval_95: Interval
    mistakes: int
    images: int

    @property
    def fit(self) -> Fit:
        """Whether the estimate is used or, if not, why."""
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
    """Return the calibration of the test images' probabilities, unchanged and at the fitted temperature.

    The temperature is fitted on the validation images alone. It stays 1 unless they show that another one is better.
    """
    fitted = fit_temperature(validation_labels, validation)
    temperature = fitted.best if fitted.fit in (Fit.FITTED, Fit.AT_BOUND) else 1.0
    after = test if temperature == 1 else at_temperature(test, temperature)
    return Calibration(
        temperature=temperature,
        fit=fitted.fit,
        temperature_interval_95=fitted.interval_95,
        fitted_on_images=fitted.images,
        fitted_on_mistakes=fitted.mistakes,
        error=calibration_error(test_labels, test),
        error_at_temperature=calibration_error(test_labels, after),
        log_loss_at_temperature=log_loss(test_labels, after),
        bins=reliability(test_labels, test),
        bins_at_temperature=reliability(test_labels, after),
    )


def fit_temperature(labels: Labels, probabilities: Probabilities) -> Temperature:
    """Return the temperature with the smallest log loss for these labels. Above 1, the model was overconfident.

    The interval contains the temperatures that a likelihood-ratio test does not reject. They form one interval because
    the loss has one minimum.
    """
    from scipy.optimize import brentq, minimize_scalar

    step = -(-probabilities.size // MOST_VALUES)
    labels, probabilities = labels[::step], probabilities[::step]
    logs = _logs(probabilities)

    def loss(log_temperature: float) -> float:
        return len(labels) * _log_loss(labels, logs, float(np.exp(log_temperature)))

    bound = float(np.log(LARGEST_TEMPERATURE))
    best = float(minimize_scalar(loss, bounds=(-bound, bound), method="bounded").x)
    most = loss(best) + HALF_CHI_SQUARE

    def end(at: float) -> float:
        inside = loss(at) <= most
        return float(np.exp(at if inside else brentq(lambda each: loss(each) - most, at, best, xtol=1e-4)))

    mistakes = int((probabilities.argmax(axis=1) != labels).sum())
    return Temperature(float(np.exp(best)), (end(-bound), end(bound)), mistakes, len(labels))


def at_temperature(probabilities: Probabilities, temperature: float) -> NDArray[np.float64]:
    """Return the probabilities (n, classes) after the logits were divided by a temperature.

    They are softmax(log(probabilities) / temperature). The predicted class stays the same.
    """
    raised = _raised(_logs(probabilities), temperature)
    raised /= raised.sum(axis=1, keepdims=True)
    return raised


def _logs(probabilities: Probabilities) -> NDArray[np.float64]:
    """Return the logarithms of the probabilities, which take as long as all the rest of a step of the fit."""
    clipped = np.clip(probabilities, SMALLEST_PROBABILITY, 1.0, dtype=np.float64)
    logs: NDArray[np.float64] = np.log(clipped)
    return logs


def _raised(logs: NDArray[np.float64], temperature: float) -> NDArray[np.float64]:
    """Return the softmax's numerators."""
    scaled = logs / temperature
    scaled -= scaled.max(axis=1, keepdims=True)
    return np.exp(scaled, out=scaled)


def _log_loss(labels: Labels, logs: NDArray[np.float64], temperature: float) -> float:
    """Return `log_loss` at a temperature. With many classes, a part of the images at a time stays in the cache."""
    true = np.empty(len(labels))
    rows = max(1, AT_ONCE // logs.shape[1])
    for start in range(0, len(labels), rows):
        part = slice(start, start + rows)
        raised = _raised(logs[part], temperature)
        true[part] = raised[np.arange(len(raised)), labels[part]] / raised.sum(axis=1)
    return float(-np.log(np.clip(true, SMALLEST_PROBABILITY, 1.0)).mean())


def bins_of(confidence: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return the index of each confidence's bin. Bins are (low, high]."""
    return np.clip(np.ceil(confidence * BINS).astype(np.intp) - 1, 0, BINS - 1)


def calibration_error(labels: Labels, probabilities: Probabilities) -> float:
    """Return the expected calibration error: the gap between accuracy and confidence of a bin, averaged over images."""
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    gaps = np.bincount(bins_of(confidence), weights=confidence - right, minlength=BINS)
    return float(np.abs(gaps).sum() / len(labels))


def reliability(labels: Labels, probabilities: Probabilities) -> tuple[Bin, ...]:
    """Return the non-empty bins, the least confident first."""
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    index = bins_of(confidence)
    bins = []
    for bin_ in range(BINS):
        inside = index == bin_
        images, correct = int(inside.sum()), int(right[inside].sum())
        if images:
            bins.append(
                Bin(
                    low=bin_ / BINS,
                    high=(bin_ + 1) / BINS,
                    images=images,
                    confidence=float(confidence[inside].mean()),
                    accuracy=correct / images,
                    accuracy_interval_95=wilson_interval(correct, images),
                )
            )
    return tuple(bins)
