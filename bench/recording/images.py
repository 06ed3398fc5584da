"""The built-in spaces on a small part of CIFAKE, trained by this project's training loop."""

import io
import os
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import keras_tuner
import numpy as np
from PIL import Image

from bench.recording.rows import Row
from bench.simulation.grid import Dimension, Grid, Scale, Value
from tuner.data.arrays import Arrays, TrainingData
from tuner.spaces.deep import DeepSpace
from tuner.spaces.seed import SeedSpace
from tuner.training.loop import Task, train

CIFAKE = Path(os.environ.get("CIFAKE_DIR", Path(__file__).resolve().parents[3] / "shared" / "cifake"))
CLASSES = ("FAKE", "REAL")
SEED = 1


@dataclass(frozen=True)
class Recipe:
    """What is recorded of a space."""

    space: type[keras_tuner.HyperModel]
    grid: Grid
    fixed: dict[str, Value]
    """Hyperparameters that are fixed, as by `space.values`, so that the grid is complete."""
    train: int
    """Number of training images."""
    validation: int
    """Number of validation images."""
    batch_size: int
    epochs: int = 27


SEED_RECIPE = Recipe(
    SeedSpace,
    Grid(
        (
            Dimension("filters", (20, 40), Scale.LINEAR),
            Dimension("kernel_size", (2, 3, 4), Scale.LINEAR),
            Dimension("units_1", (100, 200, 300), Scale.LINEAR),
            Dimension("activation_1", ("relu", "tanh"), Scale.CATEGORY),
            Dimension("units_2", (100, 300, 500), Scale.LINEAR),
            Dimension("learning_rate", (1e-4, 5e-4, 1e-3), Scale.ORDINAL),
            Dimension("optimizer", ("adam", "sgd"), Scale.CATEGORY),
        )
    ),
    fixed={"activation_2": "relu"},
    train=500,
    validation=600,
    batch_size=50,
)
DEEP_RECIPE = Recipe(
    DeepSpace,
    Grid(
        (
            Dimension("mixing", ("none", "mixup"), Scale.CATEGORY),
            Dimension("cutout", (0, 8), Scale.ORDINAL),
            Dimension("optimizer", ("adamw", "sgd"), Scale.CATEGORY),
            Dimension("learning_rate", (5e-4, 1e-3, 2e-3, 4e-3, 8e-3), Scale.LOG),
            Dimension("weight_decay", (1e-2, 1e-1), Scale.LOG),
            Dimension("average", (0.0, 0.99), Scale.ORDINAL),
        )
    ),
    fixed={"width": 16, "blocks": 1, "flip": "horizontal", "shift": 2, "label_smoothing": 0.0},
    train=500,
    validation=600,
    batch_size=50,
)


def record(recipe: Recipe, done: set[int]) -> Iterator[list[Row]]:
    """Train all configurations that are not in `done`, in random order, and yield a row after each."""
    data = images(recipe)
    configurations = recipe.grid.configurations()
    order = [int(number) for number in np.random.default_rng(0).permutation(len(configurations))]
    for number in order:
        if number not in done:
            yield [trained(recipe, data, number, configurations[number])]


def trained(recipe: Recipe, data: TrainingData, number: int, configuration: dict[str, Value]) -> Row:
    """Train one configuration."""
    hyperparameters = keras_tuner.HyperParameters()
    for name, value in (recipe.fixed | configuration).items():
        hyperparameters.Fixed(name, value)
    listener = _Curve(recipe.validation)
    task = Task(hyperparameters, SEED + number, recipe.batch_size, recipe.epochs)
    train(recipe.space((32, 32, 3), len(CLASSES)), task, data, listener)
    # the first epoch includes compilation
    return Row(number, listener.right, round(statistics.median(listener.seconds[1:]), 4), listener.parameters)


class _Curve:
    """Listens to a training, and keeps what is recorded."""

    def __init__(self, validation: int) -> None:
        self.right: list[int] = []
        self.seconds: list[float] = []
        """Processor seconds of each epoch, because other processes of the machine would distort its duration."""
        self.parameters = 0
        self._validation = validation
        self._began = time.process_time()

    def check(self) -> None:
        """Do nothing: the training is not interrupted between epochs."""

    def progress(self, epoch: int, share: float, images_per_s: float) -> None:
        """Start the clock at the beginning of an epoch."""
        if share == 0:
            self._began = time.process_time()

    def epoch_done(
        self, epoch: int, metrics: dict[str, float], model: keras.Model, returned: bool = False, named: bool = False
    ) -> None:
        """Keep the epoch's accuracy and seconds."""
        self.seconds.append(time.process_time() - self._began)
        self.right.append(round(metrics["val_accuracy"] * self._validation))
        self.parameters = int(model.count_params())


def images(recipe: Recipe) -> TrainingData:
    """Return the first training images of each class, and the next ones as validation images."""
    parts: dict[str, list[Any]] = {"train": [], "validation": []}
    for name in CLASSES:
        train_count, validation_count = recipe.train // len(CLASSES), recipe.validation // len(CLASSES)
        pixels = _decoded(CIFAKE / f"train_{name}.npz", train_count + validation_count)
        parts["train"].append(pixels[:train_count])
        parts["validation"].append(pixels[train_count:])
    return TrainingData(*(_arrays(part) for part in parts.values()))


def _arrays(per_class: list[Any]) -> Arrays:
    labels = np.repeat(np.arange(len(per_class), dtype=np.uint8), [len(pixels) for pixels in per_class])
    return Arrays(np.concatenate(per_class), labels)


def _decoded(path: Path, count: int) -> np.ndarray[Any, Any]:
    with np.load(path, allow_pickle=False) as packed:
        offsets, blob = packed["offsets"], packed["blob"].tobytes()
    jpegs = (blob[offsets[number] : offsets[number + 1]] for number in range(count))
    return np.stack([np.asarray(Image.open(io.BytesIO(jpeg))) for jpeg in jpegs])
