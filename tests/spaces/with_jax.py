"""What must hold of spaces on JAX, where pytest is not installed: a program that fails where it does not.

usage: python -m tests.spaces.with_jax FOLDER
"""

import logging
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tests.integration.spaces.user_spaces import Huge
from tests.spaces.deep_trials import DATA, SHAKEN, trained, weights
from tuner.evaluation import saved_model
from tuner.spaces import exploration
from tuner.training import batches
from tuner.training.activities import Activities


def an_interrupted_trial_goes_on_as_if_it_had_not_been(folder: Path) -> None:
    whole = trained(folder, average=0.9, **SHAKEN)
    whole_weights = weights(whole.file(2))
    resumed = trained(folder, first_epoch=1, average=0.9, **SHAKEN)
    assert resumed.epochs == {epoch: whole.epochs[epoch] for epoch in (1, 2)}
    for one, other in zip(whole_weights, weights(resumed.file(2)), strict=True):
        np.testing.assert_array_equal(one, other)
    model = saved_model.load_model(whole.file(2), "here")
    right = (saved_model.predict(model, DATA.validation.images, 60)[:, 0] > 0.5) == DATA.validation.labels
    assert abs(right.mean() - resumed.epochs[2]["val_accuracy"]) < 1e-6


def averaged_weights_cost_no_compilation_after_the_first_epoch(folder: Path) -> None:
    assert traced(folder, epochs=4) == traced(folder, epochs=2)


def traced(folder: Path, epochs: int) -> int:
    """How often JAX asked the model what it computes."""
    calls, real = 0, keras.Model.stateless_call

    def counting(self: keras.Model, *args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        return real(self, *args, **kwargs)

    keras.Model.stateless_call = counting
    try:
        trained(folder, epochs=epochs, average=0.9)
    finally:
        keras.Model.stateless_call = real
    return calls


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


if __name__ == "__main__":
    an_interrupted_trial_goes_on_as_if_it_had_not_been(Path(sys.argv[1]))
    averaged_weights_cost_no_compilation_after_the_first_epoch(Path(sys.argv[1]))
    batches_gathered_on_a_device_are_those_gathered_in_memory()
    the_largest_model_of_a_space_need_not_fit_into_memory()
    assert "tensorflow" not in sys.modules
