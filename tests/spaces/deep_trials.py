"""Small trials of the space `deep`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import keras_tuner
import numpy as np
from numpy.typing import NDArray

from tests.support.listeners import QuietListener
from tuner.data.arrays import Arrays, TrainingData
from tuner.spaces.deep import DeepSpace
from tuner.training.loop import Task, train

SIDE = 16
SMALL = {"width": 16, "blocks": 1, "learning_rate": 0.004}
SHAKEN: dict[str, Any] = {
    "flip": "horizontal_and_vertical",
    "shift": 2,
    "cutout": 8,
    "label_smoothing": 0.1,
    "mixing": "cutmix",
}


def hyperparameters(**values: Any) -> keras_tuner.HyperParameters:
    hp = keras_tuner.HyperParameters()
    hp.values.update(SMALL | values)
    return hp


def smooth_or_rough(images: int, seed: int) -> Arrays:
    """Noise, half of it smoothed: as easy to tell apart as its mirror images."""
    random = np.random.default_rng(seed)
    labels = (np.arange(images) % 2).astype(np.uint8)
    pixels = random.integers(0, 256, (images, SIDE, SIDE, 3)).astype(np.float32)
    smoothed = (pixels + np.roll(pixels, 1, axis=1) + np.roll(pixels, 1, axis=2)) / 3
    return Arrays(np.where(labels[:, None, None, None] == 1, smoothed, pixels).astype(np.uint8), labels)


DATA = TrainingData(smooth_or_rough(240, 0), smooth_or_rough(60, 1))


class Saving(QuietListener):
    """A listener that keeps every epoch's metrics, and its model as a worker would save it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.epochs: dict[int, dict[str, float]] = {}

    def epoch_done(
        self, epoch: int, metrics: dict[str, float], model: keras.Model, returned: bool = False, named: bool = False
    ) -> None:
        self.epochs[epoch] = metrics
        model.save(self.file(epoch))

    def file(self, epoch: int) -> Path:
        return self.folder / f"{epoch}.keras"


def trained(
    folder: Path, first_epoch: int = 0, epochs: int = 3, kind: Callable[[Path], Saving] = Saving, **values: Any
) -> Saving:
    listener = kind(folder)
    task = Task(hyperparameters(**values), seed=5, batch_size=20, epochs=epochs)
    if first_epoch:
        task = task.resumed(first_epoch, listener.file(first_epoch - 1), {})
    train(DeepSpace((SIDE, SIDE, 3)), task, DATA, listener)
    return listener


def weights(file: Path) -> list[NDArray[np.float32]]:
    model = keras.saving.load_model(file)
    return [keras.ops.convert_to_numpy(value) for value in [*model.weights, *model.optimizer.variables]]
