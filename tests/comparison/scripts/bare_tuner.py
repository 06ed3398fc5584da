"""A search with bare Keras Tuner, distributed as its guide says: chief and workers run this same script.

bare_tuner.py FOLDER [--overwrite] [--lock]
"""

import os
import sys
import threading
import time
from pathlib import Path

import keras
import keras_tuner
import numpy as np

FOLDER = Path(sys.argv[1])
WORKER = os.environ.get("KERASTUNER_TUNER_ID", "alone")


class Gate(keras.callbacks.Callback):
    """Writes down each epoch that begins, and waits there while the test's file `hold-<epoch>` exists."""

    def on_epoch_begin(self, epoch, logs=None):
        with (FOLDER / "epochs").open("a") as file:
            file.write(f"{WORKER} {epoch}\n")
        while (FOLDER / f"hold-{epoch}").exists():
            time.sleep(0.02)


class Locked(keras.callbacks.Callback):
    """A callback with a lock in it, as that of every Prometheus metric."""

    def __init__(self):
        super().__init__()
        self.lock = threading.Lock()


def build(hp):
    layers = [keras.Input((2,)), keras.layers.Dense(hp.Int("units", 1, 1000)), keras.layers.Dense(2, "softmax")]
    model = keras.Sequential(layers)
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"], run_eagerly=True)
    return model


tuner = keras_tuner.RandomSearch(
    build,
    objective="val_accuracy",
    max_trials=2,
    directory=FOLDER,
    project_name="project",
    overwrite="--overwrite" in sys.argv,
)
x, y = np.zeros((8, 2)), np.arange(8) % 2
callbacks = [Gate(), *([Locked()] if "--lock" in sys.argv else [])]
tuner.search(x, y, validation_data=(x, y), epochs=3, callbacks=callbacks, verbose=0)
