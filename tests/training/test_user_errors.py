"""What an exception of a user's model means: for its trial and for others, and when the default model is checked."""

from dataclasses import dataclass
from typing import Any

import keras_tuner
import pytest

from tests.spaces.faulty_spaces import SHAPE, Plain
from tuner import names
from tuner.spaces.default_model import Expectations
from tuner.study.records import FaultScope
from tuner.training.user_errors import check_once, fault_scope

LABELS = ValueError("Shapes (None, 1) and (None, 2) are incompatible")
PACKAGE = ModuleNotFoundError("No module named 'absent_package'", name="absent_package")


def check(space: keras_tuner.HyperModel) -> None:
    searched = keras_tuner.HyperParameters()
    searched.Choice("units", [4, 8])
    check_once(space, searched, Expectations(SHAPE, 2, "val_accuracy"), {names.HP_EPOCHS: 3, names.HP_STEPS: 7})


def test_an_unhashable_space_is_checked_once() -> None:
    builds = []

    @dataclass
    class Unhashable(Plain):
        depth: int = 2

        def build(self, hp: keras_tuner.HyperParameters) -> Any:
            builds.append(self.depth)
            return super().build(hp)

    space = Unhashable()
    with pytest.raises(TypeError):
        hash(space)
    check(space)
    count = len(builds)
    check(space)
    assert len(builds) == count
    check(Unhashable())  # which is equal, but another object
    assert len(builds) > count


class OwnFit(Plain):
    """May change the labels, so its loss is not checked."""

    def fit(self, hp: Any, model: Any, *args: Any, **kwargs: Any) -> Any:
        return model.fit(*args, **kwargs)


@pytest.mark.parametrize("error", [LABELS, PACKAGE])
def test_a_fault_that_the_default_model_does_not_have_is_that_of_its_trial(error: Exception) -> None:
    space = Plain()
    check(space)
    assert fault_scope(error, space) is FaultScope.TRIAL
    unknown = OwnFit()
    check(unknown)
    assert fault_scope(error, unknown) is FaultScope.LIKELY


def test_a_subclass_of_keras_tuners_errors_means_the_same() -> None:
    class TooLarge(keras_tuner.errors.FailedTrialError):
        pass

    class Broken(keras_tuner.errors.FatalError):
        pass

    assert fault_scope(TooLarge("8 parameters"), Plain()) is FaultScope.REFUSED
    assert fault_scope(Broken("no data"), Plain()) is FaultScope.STUDY
    assert fault_scope(ValueError("bad luck"), Plain()) is None
