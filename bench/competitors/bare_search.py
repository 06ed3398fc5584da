"""Bare Keras Tuner in its distributed mode as in its guide: chief and workers run this same script.

usage: bare_search.py FOLDER SEED TRIALS EPOCHS BATCH_SIZE

FOLDER contains arrays.npz. The script writes a line per epoch to `epochs` there.
"""

import os
import sys
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import keras
import keras_tuner
import numpy as np

from tuner.spaces.seed import SeedSpace

FOLDER, (SEED, TRIALS, EPOCHS, BATCH_SIZE) = Path(sys.argv[1]), map(int, sys.argv[2:])


class EpochLog(keras.callbacks.Callback):
    """Appends a line at the end of each epoch: time, validation accuracy, worker and epoch."""

    def on_epoch_end(self, epoch, logs=None):
        with (FOLDER / "epochs").open("a") as file:
            file.write(f"{time.time()} {logs['val_accuracy']} {os.environ['KERASTUNER_TUNER_ID']} {epoch}\n")


tuner = keras_tuner.RandomSearch(
    SeedSpace((32, 32, 3), 2),
    objective="val_accuracy",
    max_trials=TRIALS,
    seed=SEED,
    directory=FOLDER,
    project_name="project",
)
with np.load(FOLDER / "arrays.npz") as arrays:
    x, y, x_held, y_held = (arrays[name] for name in ("x", "y", "x_held", "y_held"))
tuner.search(
    x.astype("float32"),
    y,
    validation_data=(x_held.astype("float32"), y_held),
    batch_size=BATCH_SIZE,
    epochs=EPOCHS,
    callbacks=[EpochLog()],
    verbose=0,
)
