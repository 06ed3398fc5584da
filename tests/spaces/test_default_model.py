"""Faults of a space's default model, which every trial shares, are found before one is trained, and explained."""

from typing import Any

import keras
import keras_tuner
import pytest

from tuner import names
from tuner.errors import SpaceError
from tuner.spaces.deep import DeepSpace
from tuner.spaces.default_model import Expectations, check_default_model
from tuner.spaces.exploration import explore
from tuner.spaces.seed import SeedSpace

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


def check(space: keras_tuner.HyperModel, objective: str = "val_accuracy", classes: int = 2) -> None:
    searched = keras_tuner.HyperParameters()
    searched.Choice("units", [4, 8])
    values = {names.HP_EPOCHS: 3, names.HP_STEPS: 7}
    check_default_model(space, searched, Expectations(SHAPE, classes, objective), values)


@pytest.mark.parametrize(
    ("space", "message"),
    [
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
        (PickyAboutTraining, "in training: ValueError: the pixels must be scaled first [test_default_model.py:"),
        (NoModel, "build() must return a compiled keras.Model, got NoneType."),
        (Failing, "{'units': 4} (FailedTrialError: 4 units are too few [test_default_model.py:"),
    ],
)
def test_a_fault_that_every_trial_shares_is_explained(space: type[Plain], message: str) -> None:
    with pytest.raises(SpaceError) as caught:
        check(space())
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize("space", [Plain(), Softmax(), SeedSpace(SHAPE, 2), DeepSpace(SHAPE, 2)])
def test_a_good_space_has_none(space: keras_tuner.HyperModel) -> None:
    for objective in ("val_accuracy", "accuracy", "val_loss"):
        check(space, objective)


def test_the_mixing_of_deep_is_no_fault() -> None:
    class Mixed(DeepSpace):
        def build(self, hp: keras_tuner.HyperParameters) -> keras.Model:
            hp.Fixed("mixing", "mixup")
            return super().build(hp)

    check(Mixed(SHAPE, 3), classes=3)


def test_an_objective_that_the_model_does_not_report_is_answered_with_those_that_it_has() -> None:
    with pytest.raises(SpaceError) as caught:
        check(Softmax(), "val_auc")
    assert str(caught.value) == (
        "search.objective is 'val_auc', and the model reports accuracy, loss, val_accuracy, val_loss. "
        "Choose one of these."
    )


def test_labels_that_a_users_own_fit_or_step_changes_are_its_own_business() -> None:
    class OneHotInFit(OneHot):
        def fit(self, hp: Any, model: Any, x: Any, y: Any, **kwargs: Any) -> Any:
            return model.fit(x, keras.utils.to_categorical(y), **kwargs)

    class Stepping(keras.Model):
        def train_step(self, *args: Any) -> Any:
            raise NotImplementedError

    class OneHotInStep(OneHot):
        def build(self, hp: keras_tuner.HyperParameters) -> Any:
            inner = super().build(hp)
            model = Stepping(inner.input, inner.output)
            model.compile("adam", "categorical_crossentropy")
            return model

    check(OneHotInFit(), "val_anything")
    check(OneHotInStep(), "val_anything")


def test_a_space_with_its_own_data_or_evaluation_is_not_judged_by_images() -> None:
    class OwnData(TwoOutputs):
        def data(self, part: str) -> Any:
            raise NotImplementedError

    check(OwnData())


def test_a_layer_that_needs_values_is_given_some() -> None:
    class Eager(Plain):
        def build(self, hp: keras_tuner.HyperParameters) -> Any:
            float(keras.ops.sum(keras.ops.ones((2,))))
            return super().build(hp)

    check(Eager())


def test_the_defaults_of_what_is_searched_are_checked() -> None:
    built = []

    class Noted(Plain):
        def build(self, hp: keras_tuner.HyperParameters) -> Any:
            built.append((hp.Choice("units", [4, 8]), hp.values.get(names.HP_EPOCHS)))
            return super().build(hp)

    space = Noted()
    searched = explore(space, SHAPE)
    searched.values["units"] = 8
    built.clear()
    check_default_model(space, searched, Expectations(SHAPE, 2, "val_accuracy"), {names.HP_EPOCHS: 3})
    assert set(built) == {(4, 3)}
