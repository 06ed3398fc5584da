"""Train on two virtual devices of the CPU or on one, and print the metrics of each epoch as a line of JSON.

With JAX, VISIBLE must also be set in XLA_FLAGS. A training that begins after epoch 0 resumes from the file of the
epoch before.

usage: python -m tests.training.two_devices FOLDER VISIBLE DEVICES FIRST_EPOCH SPACE
"""

import json
import sys
from pathlib import Path
from typing import Any

import keras
import keras_tuner
import numpy as np

from tests.support.listeners import QuietListener
from tuner.data.arrays import Arrays, TrainingData
from tuner.spaces.deep import DeepSpace
from tuner.training.distribution import is_distributed
from tuner.training.loop import Task, train

EPOCHS, SIDE, BATCH = 3, 8, 16
ODD, EVEN = 83, 84
"""Numbers of images whose last batch cannot be divided by two, and can be."""


class Small(keras_tuner.HyperModel):
    """A small convolutional model."""

    def build(self, hp: keras_tuner.HyperParameters) -> keras.Model:
        layers = [
            keras.Input((SIDE, SIDE, 3)),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Conv2D(4, 3, activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dense(1, activation="sigmoid"),
        ]
        model = keras.Sequential(layers)
        # unlike Adam's, its steps depend on the size of the gradient
        optimizer = keras.optimizers.SGD(0.05, momentum=0.9)
        model.compile(optimizer, "binary_crossentropy", metrics=["accuracy"])
        return model


class OwnDistribution(Small):
    """Chooses a distribution itself."""

    def build(self, hp: keras_tuner.HyperParameters) -> keras.Model:
        if keras.backend.backend() != "tensorflow":
            keras.distribution.set_distribution(keras.distribution.DataParallel())
            return super().build(hp)
        import tensorflow

        with tensorflow.distribute.MirroredStrategy(["CPU:1", "CPU:0"]).scope():
            return super().build(hp)


class OwnFit(Small):
    """Overrides `fit`."""

    def fit(self, hp, model, *args, **kwargs):
        return model.fit(*args, batch_size=BATCH, **kwargs)


class Saving(QuietListener):
    """Saves each epoch's model, and prints its metrics and on how many devices its weights are."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def epoch_done(
        self, epoch: int, metrics: dict[str, float], model: keras.Model, returned: bool = False, named: bool = False
    ) -> None:
        model.save(self._folder / f"{epoch}.keras")
        value = model.trainable_variables[0].value
        if keras.backend.backend() == "jax":
            replicas = len(value.sharding.device_set)
        else:
            replicas = len(getattr(value, "values", [value]))
        sys.stdout.write(json.dumps({"epoch": epoch, "replicas": replicas, **metrics}) + "\n")


def main() -> None:
    """Train."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow

        [cpu] = tensorflow.config.list_physical_devices("CPU")
        parts = [tensorflow.config.LogicalDeviceConfiguration()] * int(sys.argv[2])
        tensorflow.config.set_logical_device_configuration(cpu, parts)
    folder, first = Path(sys.argv[1]), int(sys.argv[4])
    devices: Any = "auto" if sys.argv[3] == "auto" else int(sys.argv[3])
    more: dict[str, Any] = {}
    if first:
        history = {epoch: {"val_accuracy": 0.5} for epoch in range(first)}
        more = {"first_epoch": first, "model_file": folder / f"{first - 1}.keras", "history": history}
    spaces = [Small(), OwnDistribution(), OwnFit(), DeepSpace((SIDE, SIDE, 3))]
    space = next(space for space in spaces if type(space).__name__ == sys.argv[5])
    values = {"width": 16, "blocks": 1, "average": 0.9, "shift": 2, "cutout": 2, "mixing": "cutmix"}
    hyperparameters = keras_tuner.HyperParameters()
    hyperparameters.values.update(values if isinstance(space, DeepSpace) else {})
    task = Task(hyperparameters, seed=1, batch_size=BATCH, epochs=EPOCHS, devices=devices, **more)
    count = ODD if keras.backend.backend() == "jax" else EVEN  # TensorFlow leaves out what cannot be divided
    train(space, task, TrainingData(images(count), images(ODD)), Saving(folder))
    assert not is_distributed() or isinstance(space, OwnDistribution)


def images(count: int) -> Arrays:
    """Return noise whose brightness gives its class away."""
    labels = (np.arange(count) % 2).astype(np.uint8)
    pixels = np.random.default_rng(count).normal(90 + 60 * labels[:, None, None, None], 40, (count, SIDE, SIDE, 3))
    return Arrays(pixels.clip(0, 255).astype(np.uint8), labels)


if __name__ == "__main__":
    main()
