"""Training does not stand still when the wall clock is changed, which TensorFlow's autotuned input pipelines do."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import keras
import numpy as np
import pytest

from tests.support.shifted_clock import HOUR_S, ShiftedClock
from tuner.training.untuned_input import untuned_input

STEPS_S = [-HOUR_S] * 8 + [2 * HOUR_S] * 2
"""By how much the clock is set in each epoch. Without the remedy, about every third step back stops the training."""
TRAIN = """
import sys
import keras
import keras_tuner
import numpy as np
from tuner.data.arrays import Arrays, TrainingData
from tuner.training.loop import Task, train

class Space(keras_tuner.HyperModel):
    def build(self, hp):
        layers = [keras.Input((8, 8, 3)), keras.layers.Rescaling(1 / 255), keras.layers.Flatten()]
        model = keras.Sequential([*layers, keras.layers.Dense(1, "sigmoid")])
        model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
        return model

class OwnFit(Space):
    def fit(self, hp, model, *arguments, **options):
        return model.fit(*arguments, batch_size=8, verbose=0, **options)

class Listener:
    def check(self):
        self.batches = self.batches + 1
        if self.batches == 60:  # of 100: in the middle of the epoch
            print("middle", flush=True)
            sys.stdin.readline()

    def progress(self, epoch, share, images_per_s):
        if share == 0:
            self.batches = 0

    def epoch_done(self, epoch, metrics, model, returned=False, named=False):
        print("end", flush=True)

def arrays(images):
    return Arrays(np.zeros((images, 8, 8, 3), np.uint8), np.arange(images) % 2)

data = TrainingData(arrays(800), arrays(80))
for space in (Space(), OwnFit()):
    train(space, Task(keras_tuner.HyperParameters(), 0, 8, int(sys.argv[1])), data, Listener())
"""


@pytest.mark.slow
def test_an_epoch_ends_whatever_happens_to_the_clock_in_its_middle(tmp_path: Path) -> None:
    """With our own way to train, and with a space that has its own `fit`."""
    clock = ShiftedClock(tmp_path)
    process = subprocess.Popen(
        [sys.executable, "-c", TRAIN, str(len(STEPS_S))],
        env=os.environ | clock.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    watchdog = threading.Timer(240, process.kill)
    watchdog.start()
    shift_s = 0
    with process:
        assert process.stdin is not None
        assert process.stdout is not None
        for epoch in range(2 * len(STEPS_S)):
            assert process.stdout.readline() == "middle\n", f"epoch {epoch} was not reached"
            shift_s += STEPS_S[epoch % len(STEPS_S)]
            clock.shift(shift_s)
            process.stdin.write("\n")
            process.stdin.flush()
            assert process.stdout.readline() == "end\n", f"epoch {epoch} did not end"
        assert process.wait(60) == 0
    watchdog.cancel()


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="only TensorFlow has such pipelines")
def test_pipelines_are_autotuned_again_after_a_training() -> None:
    import tensorflow

    before = tensorflow.data.Dataset.__iter__
    with untuned_input():
        assert tensorflow.data.Dataset.__iter__ is not before
        assert [int(x) for x in tensorflow.data.Dataset.from_tensor_slices(np.arange(3))] == [0, 1, 2]
    assert tensorflow.data.Dataset.__iter__ is before
