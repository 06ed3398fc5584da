"""HyperModels as users write them, tiny, so that a trial takes no time; some of them misbehave."""

import os
import time
from pathlib import Path

import keras
import keras_tuner

GATE = Path(os.environ.get("INTEGRATION_GATE", "no such folder"))
HELD_S = 240.0
GOOD_RATES = [0.03, 0.02]
"""Learning rates with which `Rates` learns."""
RATES = [*GOOD_RATES, *(digit * 1e-12 for digit in range(1, 6))]
"""All of its learning rates."""


class Tiny(keras_tuner.HyperModel):
    """The mean colour through two dense layers; its only hyperparameter has four values."""

    def __init__(self, image_shape, classes):
        super().__init__()
        self.image_shape = image_shape
        self.classes = classes

    def build(self, hp):
        return self.model(hp.Choice("units", [2, 4, 8, 16]), learning_rate=0.02)

    def model(self, units, learning_rate):
        layers = [
            keras.Input(self.image_shape),
            keras.layers.Rescaling(1 / 255),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(units, activation="tanh"),
            keras.layers.Dense(self.classes, activation="softmax"),
        ]
        model = keras.Sequential(layers)
        model.compile(keras.optimizers.Adam(learning_rate), "sparse_categorical_crossentropy", metrics=["accuracy"])
        return model


class Stuck(keras.callbacks.Callback):
    """Sleeps in one call, as a long compilation does, at the epoch that `stuck-<epoch>` is there for."""

    def on_epoch_begin(self, epoch, logs=None):
        if (GATE / f"stuck-{epoch}").exists():
            (GATE / "is-stuck").touch()
            time.sleep(HELD_S)


class Gate(keras.callbacks.Callback):
    """Holds training at an epoch while the test's file `hold-<epoch>` is there; goes slowly while `slow` is.

    While `outlast` is there, an epoch takes several times as long as the start, however busy the machine is.
    """

    def on_train_begin(self, logs=None):
        self.began = time.monotonic()

    def on_epoch_begin(self, epoch, logs=None):
        deadline = time.monotonic() + HELD_S
        while (GATE / f"hold-{epoch}").exists() and time.monotonic() < deadline:
            time.sleep(0.02)

    def on_train_batch_end(self, batch, logs=None):
        if (GATE / "slow").exists():
            time.sleep(0.2)
        if batch == 1 and (GATE / "outlast").exists():
            time.sleep(3 * (time.monotonic() - self.began))


class GatedGrid(Tiny):
    """Tiny, held at the gate; trained by the product's own loop."""

    def build(self, hp):
        return gated(super().build(hp))


class GatedLine(Tiny):
    """One continuous hyperparameter: after three random trials Bayesian search has enough for its process."""

    def build(self, hp):
        return gated(self.model(4, hp.Float("learning_rate", 1e-3, 1e-1, sampling="log")))


class Rates(Tiny):
    """Learns two colours in its first epoch, unless its learning rate is hopeless: then its answer is always the first.

    Its weights are zero at first, and all probabilities are equal as long as they are as good as zero.
    """

    def build(self, hp):
        layers = [
            keras.Input(self.image_shape),
            keras.layers.Rescaling(1 / 127.5, offset=-1),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(self.classes, activation="softmax", use_bias=False, kernel_initializer="zeros"),
        ]
        model = keras.Sequential(layers)
        optimizer = keras.optimizers.Adam(hp.Choice("learning_rate", RATES))
        model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
        return gated(model)


class GatedNoise(Tiny):
    """All that has a state of its own: momentum, moving averages, random numbers of layers; held at the gate."""

    def build(self, hp):
        layers = [
            keras.Input(self.image_shape),
            keras.layers.Rescaling(1 / 255),
            keras.layers.RandomFlip(),
            keras.layers.GaussianNoise(0.1),
            keras.layers.Conv2D(4, 3),
            keras.layers.BatchNormalization(),
            keras.layers.Flatten(),
            keras.layers.Dropout(0.5),
            keras.layers.Dense(self.classes, activation="softmax"),
        ]
        model = keras.Sequential(layers)
        optimizer = keras.optimizers.Adam(hp.Float("learning_rate", 1e-3, 1e-1, sampling="log"))
        model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
        return gated(model)


def gated(model):
    """Return the model with a `fit` that adds the gate to the callbacks."""
    fit = model.fit
    model.fit = lambda *args, callbacks, **more: fit(*args, callbacks=[*callbacks, Gate(), Stuck()], **more)
    return model


class TunedFit(Tiny):
    """Tunes the batch size the way Keras Tuner's guide shows."""

    def build(self, hp):
        return self.model(hp.Int("units", 2, 64), learning_rate=0.02)

    def fit(self, hp, model, *args, **kwargs):
        return model.fit(*args, batch_size=hp.Choice("batch_size", [16, 32]), **kwargs)


class Moody(Tiny):
    """Some of its values fail, each in a way of its own; no three in a row of the grid do."""

    def build(self, hp):
        mood = hp.Choice("mood", ["good", "raises", "nan", "fine", "memory"])
        print(f"in the mood: {mood}")  # noqa: T201
        model = self.model(4, learning_rate=0.02)
        if mood == "raises":

            def broken(*args, **kwargs):
                raise ValueError("this layer does not fit\nsecond line")

            model.fit = broken
        elif mood == "nan":
            loss = lambda truth, output: keras.ops.mean(output, axis=-1) * float("nan")  # noqa: E731
            model.compile("sgd", loss, metrics=["accuracy"])
        elif mood == "memory":

            def greedy(*args, **kwargs):
                raise MemoryError("no room for 10 TB")

            model.fit = greedy
        return model


class Hopeless(Tiny):
    """Every trial fails."""

    def fit(self, hp, model, *args, **kwargs):
        raise ValueError(f"{hp.get('units')} is not my lucky number\nsecond line")


def build_tiny(hp, input_shape, num_classes):
    """What most code for Keras Tuner is: a function."""
    return Tiny(input_shape, num_classes).build(hp)


class Refusing(Tiny):
    """Refuses some of its own hyperparameters, in the words of Keras Tuner, until the file `fixed` is there."""

    def build(self, hp):
        kind = hp.Choice("kind", ["good", "failed", "fatal", "last"])
        if kind == "failed":
            raise keras_tuner.errors.FailedTrialError("too large: 8 parameters")
        fixed = Path(os.environ.get("INTEGRATION_GATE", "no such folder")) / "fixed"  # the tests' process has many
        if kind == "fatal" and not fixed.exists():
            raise keras_tuner.errors.FatalValueError("the pretrained weights are missing")
        return self.model(4, learning_rate=0.02)


class ScalesInFit(Tiny):
    """What most notebooks do: the pixels are divided in `fit`, and the model expects 0 to 1."""

    def build(self, hp):
        layers = [
            keras.Input(self.image_shape),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(hp.Choice("units", [4, 8]), activation="tanh"),
            keras.layers.Dense(self.classes, activation="softmax"),
        ]
        model = keras.Sequential(layers)
        model.compile(keras.optimizers.Adam(0.05), "sparse_categorical_crossentropy", metrics=["accuracy"])
        return model

    def fit(self, hp, model, x, y, validation_data, **kwargs):
        images, labels = validation_data
        return model.fit(x / 255, y, batch_size=4, validation_data=(images / 255, labels), **kwargs)


class ReturnsError(Tiny):
    """Keras Tuner's guide: the rest of the arguments is passed on, and the number to be tuned is returned."""

    def build(self, hp):
        return self.model(hp.Choice("units", [4, 8]), learning_rate=0.02)

    def fit(self, hp, model, x, y, validation_data, **kwargs):
        model.fit(x, y, **kwargs)
        return {"mae": hp.get("units") / 10}


class Unbuildable(Tiny):
    """No model at all."""

    def build(self, hp):
        raise KeyError("my_setting")


class Huge(keras_tuner.HyperModel):
    """Its smallest model has a weight, its largest 4 TiB of them, and another hyperparameter than the smallest."""

    def build(self, hp):
        units = hp.Int("units", 1, 2**20)
        model = keras.Sequential([keras.Input((units,)), keras.layers.Dense(units), keras.layers.Dropout(0.5)])
        model.compile(keras.optimizers.Adam(hp.Float("learning_rate", 1e-4, 1e-1)), "mse")
        if hp.Int("afterwards", 1, 2) == 2:
            hp.Boolean("last")
        return model
