"""An objective of ranks or of few positives is recomputed within rounding, and differs for a model of other pixels."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from numpy.typing import NDArray

from tuner.data.arrays import Arrays
from tuner.evaluation.recomputation import Subject, recompute

IMAGES = 200
ROUNDING = 5e-4
"""Difference between outputs of two devices that is larger than most."""
METRICS = [
    *(keras.metrics.Precision(name="precision"), keras.metrics.Recall(name="recall"), keras.metrics.AUC(name="auc")),
    keras.metrics.F1Score(average="macro", name="f1"),
]


def shades() -> Arrays:
    """Return images of two overlapping shades, of which a quarter is of the second."""
    rng = np.random.default_rng(0)
    labels = (np.arange(IMAGES) % 4 == 0).astype(np.uint8)
    level = 110 + 35 * labels + rng.normal(0, 20, IMAGES)
    images = np.broadcast_to(level[:, None, None, None], (IMAGES, 2, 2, 3)).clip(0, 255).astype(np.uint8)
    return Arrays(images, labels)


DATA = shades()


def subject(metric: keras.metrics.Metric, rescales: bool, file: Path) -> Subject:
    """Return a softmax model of the brightness from 0 to 1, which gets pixels of 0-255 but may not rescale them."""
    model = keras.Sequential([keras.Input((2, 2, 3)), keras.layers.Rescaling(1 / 255 if rescales else 1.0)])
    model.add(keras.layers.GlobalAveragePooling2D())
    model.add(keras.layers.Dense(2, activation="softmax"))
    model.layers[-1].set_weights([np.array([[-4.0, 4.0]] * 3), np.array([6.0, -6.0])])
    model.compile("sgd", "categorical_crossentropy", metrics=[metric], run_eagerly=True)
    model.save(file)
    return Subject(model, file, DATA, IMAGES)


def outputs() -> NDArray[Any]:
    """Return the outputs of the model for the brightness from 0 to 1, computed in another way."""
    brightness = DATA.images[:, 0, 0, 0] / 255
    second = 1 / (1 + np.exp(12 - 24 * brightness))
    return np.stack([1 - second, second], axis=1)


@pytest.mark.parametrize("rescales", [True, False])
@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_a_difference_of_rounding_is_accepted_and_one_of_other_pixels_is_not(
    metric: keras.metrics.Metric, rescales: bool, tmp_path: Path
) -> None:
    noise = np.random.default_rng(1).uniform(-ROUNDING, ROUNDING, (IMAGES, 1)) * [1, -1]
    metric.reset_state()
    metric.update_state(np.eye(2)[DATA.labels], (outputs() + noise).clip(0, 1).astype(np.float32))
    name = f"val_{metric.name}"
    model = subject(metric, rescales, tmp_path / "m.keras")
    check = recompute(model, {name: float(metric.result())}, name, everything=True)
    assert check is not None
    assert check.agrees is rescales, check.comparison()
    assert check.tolerance < 0.02
