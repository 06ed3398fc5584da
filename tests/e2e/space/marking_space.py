"""The space of the chaos test on a cluster: it marks each epoch that it trains, on a volume that outlives every pod.

By itself, since nothing of the tests is in the image: the lines are those of `tests.chaos.evidence.Mark`. It trains
slowly until /marks/hurry is there, and runs out of memory once for each /marks/oom-WORKER.
"""

import json
import os
import random
import time
from pathlib import Path

import keras
import keras_tuner

FOLDER = Path("/marks")
WORKER = os.environ.get("KERASTUNER_TUNER_ID", "")  # none in the evaluator
PROCESS = random.SystemRandom().randrange(2**31)  # every container's pid is 1
SLOW_S = 0.3
PIECE_BYTES = 64 << 20


class MarkingSpace(keras_tuner.HyperModel):
    """The mean colour through a dense layer; eager, since compiling a graph takes longer than all its training."""

    def __init__(self, image_shape, classes):
        super().__init__()
        self.image_shape = image_shape
        self.classes = classes

    def build(self, hp):
        key = hp.Int("key", 1, 2**30)
        layers = [
            keras.Input(self.image_shape),
            keras.layers.Rescaling(1 / 255),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(self.classes, activation="softmax"),
        ]
        model = keras.Sequential(layers)
        loss = "sparse_categorical_crossentropy"
        model.compile(keras.optimizers.Adam(0.02), loss, metrics=["accuracy"], run_eagerly=True)
        fit = model.fit
        # before the program's own callbacks: an epoch is marked as trained before it is saved or reported
        model.fit = lambda *args, callbacks, **more: fit(*args, callbacks=[Marks(key), *callbacks], **more)
        return model


class Marks(keras.callbacks.Callback):
    """Writes down what is trained."""

    def __init__(self, key):
        super().__init__()
        self.key = key

    def on_train_begin(self, logs=None):
        self._mark("start", 0)

    def on_epoch_begin(self, epoch, logs=None):
        self._mark("begin", epoch)

    def on_train_batch_end(self, batch, logs=None):
        order = FOLDER / f"oom-{WORKER}"
        if order.exists():
            order.unlink()
            exhaust_memory()
        if not (FOLDER / "hurry").exists():
            time.sleep(SLOW_S)

    def on_epoch_end(self, epoch, logs=None):
        self._mark("end", epoch)

    def _mark(self, what, epoch):
        mark = {"at": time.time(), "worker": WORKER, "pid": PROCESS, "key": self.key, "what": what, "epoch": epoch}
        descriptor = os.open(FOLDER / "marks.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            os.write(descriptor, json.dumps(mark).encode() + b"\n")
        finally:
            os.close(descriptor)


def exhaust_memory():
    """Take memory until the kernel kills us."""
    hoard = []
    while True:
        hoard.append(b"x" * PIECE_BYTES)
