"""Spaces whose default model has a fault; nothing here needs pytest, so that `with_jax` uses them too."""

from typing import Any

import keras
import keras_tuner

from tuner import names
from tuner.errors import SpaceError
from tuner.spaces.default_model import Expectations, check_default_model

SHAPE = (16, 20, 3)
layers = keras.layers


class Plain(keras_tuner.HyperModel):
    """A good space; what is wrong with the others differs from it."""

    outputs: tuple[int, str] = (1, "sigmoid")
    compiled: tuple[Any, ...] | None = ("adam", "binary_crossentropy")
    metrics: tuple[str, ...] = ("accuracy",)

    def build(self, hp: keras_tuner.HyperParameters) -> Any:
        inputs = keras.Input(self.shape())
        features = layers.Dense(hp.Choice("units", [4, 8]))(layers.Flatten()(self.prepared(inputs)))
        units, activation = self.outputs
        model = keras.Model(inputs, self.head(layers.Dense(units, activation=activation)(features)))
        if self.compiled:
            model.compile(*self.compiled, metrics=list(self.metrics))
        return model

    def shape(self) -> tuple[int, int, int]:
        return SHAPE

    def prepared(self, images: Any) -> Any:
        return images

    def head(self, output: Any) -> Any:
        return output


class Softmax(Plain):
    outputs = (2, "softmax")
    compiled = ("adam", "sparse_categorical_crossentropy")


class OneHot(Softmax):
    compiled = ("adam", "categorical_crossentropy")


class BinaryOfTwo(Softmax):
    compiled = ("adam", "binary_crossentropy")


class NotCompiled(Plain):
    compiled = None


class WithoutLoss(Plain):
    compiled = ("adam",)


class WithoutMetric(Plain):
    metrics = ()


class Cropped(Plain):
    """Its `fit` would crop the images."""

    def shape(self) -> tuple[int, int, int]:
        return (12, 12, 3)

    def fit(self, hp: Any, model: Any, x: Any, y: Any, **kwargs: Any) -> Any:
        return model.fit(x[:, 2:14, 4:16], y, **kwargs)


class TwoOutputs(Plain):
    def head(self, output: Any) -> Any:
        return [output, layers.Dense(1)(output)]


class FiveClasses(Softmax):
    outputs = (5, "softmax")


class OneRowPerPixel(Plain):
    def head(self, output: Any) -> Any:
        return layers.RepeatVector(3)(output)


class Picky(keras.layers.Layer):
    def call(self, x: Any, training: bool = False) -> Any:
        if training:
            raise ValueError("the pixels must be scaled first")
        return x


class PickyAboutTraining(Plain):
    def prepared(self, images: Any) -> Any:
        return Picky()(images)


class NoModel(Plain):
    def build(self, hp: keras_tuner.HyperParameters) -> Any:
        super().build(hp)


class Failing(Plain):
    def build(self, hp: keras_tuner.HyperParameters) -> Any:
        raise keras_tuner.errors.FailedTrialError(f"{hp.Choice('units', [4, 8])} units are too few")


def check(space: keras_tuner.HyperModel, objective: str = "val_accuracy", classes: int = 2) -> bool:
    searched = keras_tuner.HyperParameters()
    searched.Choice("units", [4, 8])
    values = {names.HP_EPOCHS: 3, names.HP_STEPS: 7}
    return check_default_model(space, searched, Expectations(SHAPE, classes, objective), values)


def explanation(space: keras_tuner.HyperModel) -> str:
    """Return what is said about a space; empty if nothing is."""
    try:
        check(space)
    except SpaceError as error:
        return str(error)
    return ""


FAULTS: list[tuple[type[Plain], str]] = [
    (OneHot, "labels of shape (2,) and outputs of shape (2, 2): ValueError: Arguments `target` and `output`"),
    (OneHot, "use the loss sparse_categorical_crossentropy instead of categorical_crossentropy"),
    (BinaryOfTwo, "binary_crossentropy with Dense(1, activation='sigmoid')"),
    (NotCompiled, "build() returned a model that is not compiled. build() must return a compiled model: call"),
    (WithoutLoss, "the model is compiled without a loss."),
    (WithoutMetric, "the model reports loss, val_loss. Pass metrics=['accuracy'] to the model's compile()."),
    (
        Cropped,
        "cannot be applied to the images of the data set (16 x 20 x 3: height x width x channels): ValueError",
    ),
    (Cropped, "crop them in the model (keras.layers.Resizing, CenterCrop) instead of in fit()"),
    (TwoOutputs, "the model has 2 outputs, but a study of images needs one that gives the class."),
    (FiveClasses, "the model has 5 outputs, but the data has 2 classes. Change the outputs to 1 (sigmoid) or 2"),
    (OneRowPerPixel, "the model's output has shape (2, 3, 1) for 2 images. End the model in a Dense layer"),
    (PickyAboutTraining, "in training: ValueError: the pixels must be scaled first [faulty_spaces.py:"),
    (NoModel, "build() must return a compiled keras.Model, got NoneType."),
    (Failing, "{'units': 4} (FailedTrialError: 4 units are too few [faulty_spaces.py:"),
]
"""Spaces with a fault, and a part of what is said about it."""
