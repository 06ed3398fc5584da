"""A model whose arithmetic is exact in float32: every processor and every version of a library gets the same bits.

Pixels are multiples of 64, an image is four squares of one colour each, batches and splits have powers of two of
images, the learning rates are powers of two, and the gradient of the loss is -1, 0 or 1 times the features. So every
weight, output and loss is a multiple of 2 ** -16 below 2 ** 7, which no order of additions rounds. What a resumed
trial needs is in it nevertheless: the optimizer's iterations (its learning rate is halved after 20), and random
numbers (dropout, the order of the images).
"""

import time
from pathlib import Path

import keras
import keras_tuner

HALVED_AFTER = 20
"""Optimizer steps; an epoch has 4."""
HELD_BEFORE = 4
"""Epoch (from 0) that does not begin while the working directory has a file called `hold`."""


class Hold(keras.callbacks.Callback):
    """Waits, so that the processes can be killed during a trial."""

    def on_epoch_begin(self, epoch, logs=None):
        while epoch == HELD_BEFORE and Path("hold").exists():
            time.sleep(0.02)


class Exact(keras_tuner.HyperModel):
    """The mean colour through dropout and one neuron, whose output is clipped to [0, 1]."""

    def __init__(self, image_shape, classes):
        super().__init__()
        self.image_shape = image_shape

    def build(self, hp):
        rate = hp.Choice("learning_rate", [0.5, 0.25, 2.0, 0.125, 0.0625, 1.0])
        schedule = keras.optimizers.schedules.PiecewiseConstantDecay([HALVED_AFTER], [rate, rate / 2])
        model = keras.Sequential(
            [
                keras.Input(self.image_shape),
                keras.layers.Rescaling(1 / 256),
                keras.layers.GlobalAveragePooling2D(),
                keras.layers.Dropout(0.5),
                keras.layers.Dense(1, kernel_initializer="zeros", bias_initializer=keras.initializers.Constant(0.5)),
                keras.layers.ReLU(max_value=1.0),
            ]
        )
        model.compile(keras.optimizers.SGD(schedule), "mean_absolute_error", metrics=["accuracy"])
        fit = model.fit
        model.fit = lambda *args, callbacks, **more: fit(*args, callbacks=[*callbacks, Hold()], **more)
        return model
