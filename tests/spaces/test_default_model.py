"""Faults of a space's default model, which every trial shares, are found before one is trained, and explained."""

from typing import Any

import keras
import keras_tuner
import pytest

from tests.spaces.faulty_spaces import FAULTS, SHAPE, OneHot, Plain, Softmax, TwoOutputs, check, explanation
from tuner import names
from tuner.errors import SpaceError
from tuner.spaces.deep import DeepSpace
from tuner.spaces.default_model import Expectations, check_default_model
from tuner.spaces.exploration import explore
from tuner.spaces.seed import SeedSpace


@pytest.mark.parametrize(("space", "message"), FAULTS)
def test_a_fault_that_every_trial_shares_is_explained(space: type[Plain], message: str) -> None:
    text = explanation(space())
    assert message in text
    assert "\n" not in text
    assert "\x1b" not in text


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


def test_only_a_check_of_the_loss_is_complete() -> None:
    class OwnFit(Plain):
        def fit(self, hp: Any, model: Any, *args: Any, **kwargs: Any) -> Any:
            return model.fit(*args, **kwargs)

    assert check(Plain())
    assert not check(OwnFit())


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


@pytest.mark.parametrize(
    "loss", ["sparse_categorical_crossentropy", keras.losses.SparseCategoricalCrossentropy()], ids=["name", "object"]
)
def test_one_output_with_a_loss_of_several_classes_is_refused(loss: Any) -> None:
    class OneUnit(Plain):
        def build(self, hp: Any) -> keras.Model:
            model = keras.Sequential([keras.Input(SHAPE), keras.layers.Flatten(), keras.layers.Dense(1, "sigmoid")])
            model.compile("adam", loss, metrics=["accuracy"])
            return model

    with pytest.raises(SpaceError, match="needs one per class"):
        check(OneUnit())
