"""The space of our side: the same small model, with a fit of the user's own whose callback holds a lock."""

import os
import threading
import time
from pathlib import Path

import keras
import keras_tuner

FOLDER = Path(os.environ.get("COMPARED", os.devnull))
WORKER = os.environ.get("KERASTUNER_TUNER_ID", "alone")


class Gate(keras.callbacks.Callback):
    """Writes down each epoch that begins, and waits there while the test's file `hold-<epoch>` exists."""

    def __init__(self):
        super().__init__()
        self.lock = threading.Lock()

    def on_epoch_begin(self, epoch, logs=None):
        with self.lock, (FOLDER / "epochs").open("a") as file:
            file.write(f"{WORKER} {epoch}\n")
        while (FOLDER / f"hold-{epoch}").exists():
            time.sleep(0.02)


class Compared(keras_tuner.HyperModel):
    """Learns two colours at the first two rates, and nothing at the others."""

    def __init__(self, image_shape, classes):
        super().__init__()
        self.image_shape = image_shape
        self.classes = classes

    def build(self, hp):
        layers = [
            keras.Input(self.image_shape),
            keras.layers.Rescaling(1 / 255),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(self.classes, activation="softmax"),
        ]
        model = keras.Sequential(layers)
        optimizer = keras.optimizers.Adam(hp.Choice("rate", [0.05, 0.06, 0.0, 1e-9]))
        model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"], run_eagerly=True)
        return model

    def fit(self, hp, model, *args, callbacks, **kwargs):
        return model.fit(*args, callbacks=[Gate(), *callbacks], **kwargs)


class Wide(Compared):
    """Has a million values, for trials that nobody trains."""

    def build(self, hp):
        hp.Int("number", 1, 10**6)
        return super().build(hp)
