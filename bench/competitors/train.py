"""Train one turn after the other, each from a JSON line on stdin, and print the outcomes; see `turns.py`.

usage: python -m bench.competitors.train PLACE
"""

import json
import os
import resource
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import keras_tuner
import numpy as np

from bench.competitors.turns import BATCH, Outcome, Turn
from tuner.data.arrays import Arrays, TrainingData
from tuner.spaces import deep, seed
from tuner.training.loop import Task, train

WARM_STEPS = 10
"""Number of steps before the measurement starts."""
HELD_OUT = 5000
"""Approximate number of validation images."""


def main() -> None:
    """Train a turn for each line."""
    data = arrays(Path(sys.argv[1]))
    for line in sys.stdin:
        turn = Turn(**json.loads(line))
        print(json.dumps(asdict(trained(turn, cut(data, turn)))), flush=True)


def arrays(place: Path) -> TrainingData:
    """Return the training arrays, memory-mapped."""
    if not (place / "digest").exists():
        file = place / "noise.npy"
        if not file.exists():
            np.save(file, np.random.default_rng(0).integers(0, 256, (100_000, 32, 32, 3), dtype=np.uint8))
        images, labels = np.load(file, mmap_mode="r"), np.arange(100_000, dtype=np.uint8) % 2
        return TrainingData(Arrays(images[:90_000], labels[:90_000]), Arrays(images[90_000:], labels[90_000:]))
    from tuner.bucket import open_bucket
    from tuner.data.arrays import open_training
    from tuner.data.manifest import read_manifest

    bucket = open_bucket(str(place / "bucket"))
    return open_training(bucket, read_manifest(bucket, (place / "digest").read_text()), 0.1, 1, place / "cache")


def cut(data: TrainingData, turn: Turn) -> TrainingData:
    """Return the turn's training images, and validation images spread over both classes, which are stored in order."""
    indices = np.arange(0, len(data.validation.labels), max(1, len(data.validation.labels) // HELD_OUT))
    validation = Arrays(data.validation.images[indices], data.validation.labels[indices])
    if turn.images is None:
        return TrainingData(data.train, validation)
    chosen = np.sort(np.random.default_rng(turn.seed).permutation(len(data.train.labels))[: turn.images])
    return TrainingData(Arrays(data.train.images[chosen], data.train.labels[chosen]), validation)


class Clock(keras.callbacks.Callback):
    """Times the first epoch from the end of its first steps to its last step; also serves as the worker's observer."""

    def __init__(self, images: int) -> None:
        super().__init__()
        self.accuracy = 0.0
        self._images = images
        self._steps = -(-images // BATCH)
        self._done = 0

    def check(self) -> None:
        """Count a step. Steps after the last one of the epoch belong to its validation."""
        self._done += 1
        if self._done == WARM_STEPS:
            self._began = time.perf_counter()
        if self._done == self._steps:
            self._took_s = time.perf_counter() - self._began

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.check()

    def progress(self, epoch: int, share: float, images_per_s: float) -> None:
        """Do nothing."""

    def epoch_done(
        self, epoch: int, metrics: dict[str, float], model: keras.Model, returned: bool = False, named: bool = False
    ) -> None:
        self.accuracy = metrics["val_accuracy"]

    def images_per_s(self) -> float:
        return (self._images - WARM_STEPS * BATCH) / self._took_s


def trained(turn: Turn, data: TrainingData) -> Outcome:
    """Train a turn from the beginning."""
    hyperparameters = keras_tuner.HyperParameters()
    hyperparameters.values.update(turn.values)
    clock = Clock(len(data.train.labels))
    if turn.loop == "ours":
        task = Task(hyperparameters, seed=turn.seed, batch_size=BATCH, epochs=turn.epochs)
        train(space_of(turn), task, data, clock)
        accuracy = clock.accuracy
    else:
        accuracy = as_a_user_does(turn, hyperparameters, data, clock)
    return Outcome(clock.images_per_s(), accuracy, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def space_of(turn: Turn) -> keras_tuner.HyperModel:
    """Return the space in the turn's variant; a process runs only one variant."""
    if turn.precision is not None:
        for module in (seed, deep):  # their own choice is what is measured
            vars(module)["fastest_precision"] = lambda: turn.precision
    if not turn.fused_norm:
        vars(deep)["FusedBatchNormalization"] = keras.layers.BatchNormalization
    return deep.DeepSpace() if turn.space == "deep" else seed.SeedSpace()


def as_a_user_does(turn: Turn, hyperparameters: keras_tuner.HyperParameters, data: TrainingData, clock: Clock) -> float:
    """Train the space `seed` without the Rescaling layer, on pixels scaled beforehand; return the last accuracy."""
    keras.backend.clear_session()
    keras.utils.set_random_seed(turn.seed)
    built = seed.SeedSpace().build(hyperparameters)
    model = keras.Sequential([keras.Input((32, 32, 3)), *built.layers[1:]])
    model.compile(keras.optimizers.Adam(turn.values["learning_rate"]), "binary_crossentropy", metrics=["accuracy"])
    common = {"epochs": turn.epochs, "verbose": 0, "callbacks": [clock]}
    if turn.loop == "plain":
        x, validation_images = (part.images.astype("float32") / 255 for part in (data.train, data.validation))
        validation = (validation_images, data.validation.labels)
        history = model.fit(x, data.train.labels, batch_size=BATCH, validation_data=validation, **common)
    else:
        train_set = dataset(data.train).shuffle(len(data.train.labels), seed=turn.seed)
        history = model.fit(scaled(train_set), validation_data=scaled(dataset(data.validation)), **common)
    return float(history.history["val_accuracy"][-1])


def dataset(arrays: Arrays):
    """Return tf.data of single images, uint8."""
    import tensorflow

    return tensorflow.data.Dataset.from_tensor_slices((arrays.images, arrays.labels))


def scaled(single):
    """Return the batches as floats, prepared ahead."""
    import tensorflow

    tune = tensorflow.data.AUTOTUNE
    batches = single.batch(BATCH).map(lambda x, y: (tensorflow.cast(x, "float32") / 255, y), num_parallel_calls=tune)
    return batches.prefetch(tune)


if __name__ == "__main__":
    main()
