"""What must hold of spaces on JAX, where pytest is not installed: a program that fails where it does not.

usage: python -m tests.spaces.with_jax FOLDER
"""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tests.integration.spaces.user_spaces import Huge
from tests.spaces.deep_trials import DATA, SHAKEN, Saving, trained, weights
from tests.spaces.faulty_spaces import FAULTS, Softmax, explanation
from tuner.evaluation import saved_model
from tuner.spaces import exploration
from tuner.spaces.deep import DeepSpace
from tuner.training import batches
from tuner.training.activities import Activities


class CountingTraces(Saving):
    """Notes at the end of every epoch how often JAX has asked a model what it computes, to compile it."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.traces: list[int] = []

    def epoch_done(
        self, epoch: int, metrics: dict[str, float], model: keras.Model, returned: bool = False, named: bool = False
    ) -> None:
        self.traces.append(keras.Model.stateless_call.calls)
        super().epoch_done(epoch, metrics, model)


def an_interrupted_trial_goes_on_as_if_it_had_not_been(folder: Path) -> CountingTraces:
    with counted_traces():
        whole = trained(folder, kind=CountingTraces, average=0.9, **SHAKEN)
    whole_weights = weights(whole.file(2))
    resumed = trained(folder, first_epoch=1, average=0.9, **SHAKEN)
    assert resumed.epochs == {epoch: whole.epochs[epoch] for epoch in (1, 2)}
    for one, other in zip(whole_weights, weights(resumed.file(2)), strict=True):
        np.testing.assert_array_equal(one, other)
    model = saved_model.load_model(whole.file(2), "here")
    right = (saved_model.predict(model, DATA.validation.images, 60)[:, 0] > 0.5) == DATA.validation.labels
    assert abs(right.mean() - resumed.epochs[2]["val_accuracy"]) < 1e-6
    assert isinstance(whole, CountingTraces)
    return whole


def averaged_weights_cost_no_compilation_after_the_first_epoch(averaged: CountingTraces) -> None:
    assert len(averaged.traces) == 3
    assert averaged.traces[0] > 0
    assert averaged.traces[2] == averaged.traces[0]


@contextmanager
def counted_traces() -> Iterator[None]:
    """Count the calls by which JAX asks a model what it computes."""
    real = keras.Model.stateless_call

    def counting(self: keras.Model, *args: Any, **kwargs: Any) -> Any:
        counting.calls += 1  # type: ignore[attr-defined]
        return real(self, *args, **kwargs)

    counting.calls = 0  # type: ignore[attr-defined]
    keras.Model.stateless_call = counting
    try:
        yield
    finally:
        keras.Model.stateless_call = real


def batches_gathered_on_a_device_are_those_gathered_in_memory() -> None:
    in_memory = batches.Batches(DATA.train, 50, Activities(), seed=3)
    batches._fits_on_device = lambda arrays: True  # there is no GPU: the same code, in this processor's memory
    on_device = batches.Batches(DATA.train, 50, Activities(), seed=3)
    for epoch in (None, 0, 1):
        if epoch is not None:
            for loader in (in_memory, on_device):
                loader.begin(epoch)
        for index in range(len(in_memory)):
            for one, other in zip(in_memory[index], on_device[index], strict=True):
                np.testing.assert_array_equal(one, np.asarray(other))


def the_largest_model_of_a_space_need_not_fit_into_memory() -> None:
    warned: list[logging.LogRecord] = []

    def keep(record: logging.LogRecord) -> bool:
        warned.append(record)
        return False

    exploration.log.addFilter(keep)
    assert {hp.name for hp in exploration.explore(Huge()).space} == {"units", "learning_rate", "afterwards", "last"}
    assert not warned


def every_build_of_the_space_deep_names_all_hyperparameters() -> None:
    """So `explore` builds a built-in space only once."""

    class OfAUser(DeepSpace):
        """A subclass is explored completely."""

    explorer = exploration._Explorer(OfAUser(), (32, 32, 3))
    explorer.build_once()
    explorer.vary({}, explorer.hyperparameters.space)
    assert len(explorer._built) == 8  # as many as the widths
    assert not explorer.failure
    built_once = exploration.explore(DeepSpace())
    assert [hp.get_config() for hp in explorer.hyperparameters.space] == [hp.get_config() for hp in built_once.space]


def faults_of_a_default_model_are_explained() -> None:
    for space, message in FAULTS:
        text = explanation(space())
        assert message in text, (space, text)
    assert explanation(Softmax()) == ""


if __name__ == "__main__":
    averaged = an_interrupted_trial_goes_on_as_if_it_had_not_been(Path(sys.argv[1]))
    averaged_weights_cost_no_compilation_after_the_first_epoch(averaged)
    batches_gathered_on_a_device_are_those_gathered_in_memory()
    the_largest_model_of_a_space_need_not_fit_into_memory()
    every_build_of_the_space_deep_names_all_hyperparameters()
    faults_of_a_default_model_are_explained()
    assert "tensorflow" not in sys.modules
