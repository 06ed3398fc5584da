"""Many trials in one process: nothing of an earlier trial's model stays in memory."""

import gc
import weakref

import keras
import keras_tuner
import numpy as np

from tests.support.listeners import QuietListener
from tuner.data.arrays import Arrays, TrainingData
from tuner.training.loop import Task, train

TRIALS = 4


class Growing(keras_tuner.HyperModel):
    """Different models, as in a search."""

    def __init__(self) -> None:
        super().__init__()
        self.models: list[weakref.ref[keras.Model]] = []

    def build(self, hp: keras_tuner.HyperParameters) -> keras.Model:
        model = keras.Sequential([keras.Input((4, 4, 3)), keras.layers.Flatten()])
        for layer in range(hp.Int("layers", 1, TRIALS)):
            model.add(keras.layers.Dense(8 + layer, activation="relu"))
        model.add(keras.layers.Dense(1, activation="sigmoid"))
        model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
        self.models.append(weakref.ref(model))
        return model


def test_only_the_last_trials_model_stays_in_memory() -> None:
    rng = np.random.default_rng(0)
    arrays = Arrays(rng.integers(0, 256, (8, 4, 4, 3)).astype(np.uint8), (np.arange(8) % 2).astype(np.uint8))
    space = Growing()
    for layers in range(1, TRIALS + 1):
        hp = keras_tuner.HyperParameters()
        hp.values["layers"] = layers
        train(space, Task(hp, seed=1, batch_size=4, epochs=1), TrainingData(arrays, arrays), QuietListener())
    gc.collect()
    alive = [number for number, model in enumerate(space.models) if model() is not None]
    assert len(space.models) == TRIALS
    assert set(alive) <= {TRIALS - 1}
