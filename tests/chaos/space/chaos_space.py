"""The space of a chaos run: a tiny model that marks every epoch it trains, and for some trials misbehaves."""

import os
import time
from pathlib import Path

import keras
from mean_colour import EpochMarks, MeanColour

from tests.chaos.evidence import Mark, What, append_mark, hold_file

EVIDENCE = Path(os.environ.get("CHAOS_EVIDENCE", os.devnull))
BATCH_S, HELD_BATCH_S = 0.03, 1.0
KINDS = 12
RAISES, RAISES_ONCE, EXHAUSTS, EXHAUSTS_ONCE, DIVERGES = range(5)
"""What the key, modulo KINDS, makes of a trial; the others are well."""


class ChaosSpace(MeanColour):
    """Some of its trials raise, exhaust the memory, or diverge."""

    def loss(self, key):
        return _diverging if key % KINDS == DIVERGES else super().loss(key)

    def marks(self, key):
        return Marks(key)


class Marks(EpochMarks):
    """Writes down what is trained, and raises where the key says so."""

    def __init__(self, key):
        super().__init__(key)
        self.resumed = None

    def on_epoch_begin(self, epoch, logs=None):
        self.resumed = epoch > 0 if self.resumed is None else self.resumed
        super().on_epoch_begin(epoch)

    def on_train_batch_end(self, batch, logs=None):
        time.sleep(HELD_BATCH_S if hold_file(EVIDENCE).exists() else BATCH_S)

    def on_epoch_end(self, epoch, logs=None):
        kind = self.key % KINDS
        once = kind in (RAISES_ONCE, EXHAUSTS_ONCE)
        if epoch == 1 and not (once and self.resumed):  # by then there is an epoch to go on from
            if kind in (RAISES, RAISES_ONCE):
                self.mark(What.RAISE, epoch)
                raise ValueError("this trial raises, as it was told to")
            if kind in (EXHAUSTS, EXHAUSTS_ONCE):
                self.mark(What.EXHAUST, epoch)
                raise MemoryError("this trial runs out of memory, as it was told to")
        super().on_epoch_end(epoch)

    def mark(self, what, epoch):
        worker = os.environ["KERASTUNER_TUNER_ID"]
        append_mark(EVIDENCE, Mark(time.time(), worker, os.getpid(), self.key, What(what), epoch))


def _diverging(truth, output):
    return keras.ops.mean(output, axis=-1) * float("nan")
