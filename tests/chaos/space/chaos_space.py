"""The space of a chaos run: a tiny model that marks every epoch it trains, and for some trials misbehaves."""

import os
import time
from pathlib import Path

import keras
import keras_tuner

from tests.chaos.evidence import Mark, What, append_mark, hold_file
from tests.chaos.work_rules import KEY

EVIDENCE = Path(os.environ.get("CHAOS_EVIDENCE", os.devnull))
BATCH_S, HELD_BATCH_S = 0.03, 1.0
KINDS = 12
RAISES, RAISES_ONCE, EXHAUSTS, EXHAUSTS_ONCE, DIVERGES = range(5)
"""What the key, modulo KINDS, makes of a trial; the others are well."""


class ChaosSpace(keras_tuner.HyperModel):
    """The mean colour through a dense layer; eager, since compiling a graph takes longer than all its training."""

    def __init__(self, image_shape, classes):
        super().__init__()
        self.image_shape = image_shape
        self.classes = classes

    def build(self, hp):
        key = hp.Int(KEY, 1, 2**30)
        layers = [
            keras.Input(self.image_shape),
            keras.layers.Rescaling(1 / 255),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(self.classes, activation="softmax"),
        ]
        model = keras.Sequential(layers)
        loss = _diverging if key % KINDS == DIVERGES else "sparse_categorical_crossentropy"
        model.compile(keras.optimizers.Adam(0.02), loss, metrics=["accuracy"], run_eagerly=True)
        fit = model.fit
        # before the program's own callbacks: an epoch is marked as trained before it is saved or reported
        model.fit = lambda *args, callbacks, **more: fit(*args, callbacks=[Marks(key), *callbacks], **more)
        return model


class Marks(keras.callbacks.Callback):
    """Writes down what is trained, and raises where the key says so."""

    def __init__(self, key):
        super().__init__()
        self.key = key
        self.resumed = None

    def on_train_begin(self, logs=None):
        self._mark(What.START, 0)

    def on_epoch_begin(self, epoch, logs=None):
        self.resumed = epoch > 0 if self.resumed is None else self.resumed
        self._mark(What.BEGIN, epoch)

    def on_train_batch_end(self, batch, logs=None):
        time.sleep(HELD_BATCH_S if hold_file(EVIDENCE).exists() else BATCH_S)

    def on_epoch_end(self, epoch, logs=None):
        kind = self.key % KINDS
        once = kind in (RAISES_ONCE, EXHAUSTS_ONCE)
        if epoch == 1 and not (once and self.resumed):  # by then there is an epoch to go on from
            if kind in (RAISES, RAISES_ONCE):
                self._mark(What.RAISE, epoch)
                raise ValueError("this trial raises, as it was told to")
            if kind in (EXHAUSTS, EXHAUSTS_ONCE):
                self._mark(What.EXHAUST, epoch)
                raise MemoryError("this trial runs out of memory, as it was told to")
        self._mark(What.END, epoch)

    def _mark(self, what, epoch):
        append_mark(EVIDENCE, Mark(time.time(), os.environ["KERASTUNER_TUNER_ID"], os.getpid(), self.key, what, epoch))


def _diverging(truth, output):
    return keras.ops.mean(output, axis=-1) * float("nan")
