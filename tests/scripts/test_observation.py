"""The numbers of `model.evaluate` are recorded as the script gets them."""

from typing import Any

import keras
import numpy as np
import pytest

from tuner.scripts.observation import Observed, observing

X, Y = np.zeros((4, 2), "float32"), np.zeros(4, "float32")


class Own(keras.Model):
    """Evaluates itself, and keeps nothing in metrics."""

    def call(self, inputs: Any) -> Any:
        return inputs

    def test_step(self, *arguments: Any) -> Any:
        logs = {"own": keras.ops.convert_to_tensor(0.25), "another": keras.ops.convert_to_tensor(0.5)}
        return (logs, arguments[0]) if keras.backend.backend() == "jax" else logs


def own() -> keras.Model:
    model = Own()
    model.compile("sgd", run_eagerly=True)
    return model


def plain(metrics: Any = ("mae",)) -> keras.Model:
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse", metrics=list(metrics), run_eagerly=True)
    return model


def test_the_numbers_of_a_models_own_test_step_are_recorded() -> None:
    model = own()
    with observing(observed := Observed()):
        assert model.evaluate(X, Y, verbose=0, return_dict=True) == {"own": 0.25, "another": 0.5}
    assert observed.evaluations == [{"own": 0.25, "another": 0.5}]


@pytest.mark.parametrize("make", [plain, own])
def test_evaluate_returns_what_it_returns_without_observation(make: Any) -> None:
    model = make()
    calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
        ((X, Y), {"verbose": 0}),
        ((X, Y, 2, 0, None, None, None, True), {}),
        ((X, Y, 2, 0), {"return_dict": False}),
    ]
    without = [model.evaluate(*args, **kwargs) for args, kwargs in calls]
    with observing(observed := Observed()):
        assert [model.evaluate(*args, **kwargs) for args, kwargs in calls] == without
    assert observed.evaluations == [without[1]] * 3


def test_a_single_number_is_returned_as_such() -> None:
    model = plain(metrics=())
    with observing(observed := Observed()):
        loss = model.evaluate(X, Y, verbose=0)
    assert isinstance(loss, float)
    assert observed.evaluations == [{"loss": loss}]


def test_the_evaluations_of_fit_are_not_recorded() -> None:
    with observing(observed := Observed()):
        plain().fit(X, Y, validation_data=(X, Y), verbose=0)
    assert observed.evaluations == []


def test_only_numbers_are_recorded() -> None:
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
    model.compile("sgd", "mse", metrics=[keras.metrics.F1Score(name="f1")], run_eagerly=True)
    with observing(observed := Observed()):
        _, f1 = model.evaluate(X, np.eye(4, 3), verbose=0)
    assert f1.shape == (3,)
    assert [evaluation.keys() for evaluation in observed.evaluations] == [{"loss"}]
