"""When a trial's patience ends, by the same best epoch as everywhere else."""

import math

import keras_tuner
import pytest

from tuner.study.objective import Objective
from tuner.training.loop import Task


def task(direction: str = "max") -> Task:
    objective = Objective("value", direction)  # type: ignore[arg-type]
    return Task(keras_tuner.HyperParameters(), seed=0, batch_size=1, epochs=9, patience=2, objective=objective)


def test_patience_counts_from_the_first_best_epoch() -> None:
    assert not task().out_of_patience({0: 0.5, 1: 0.6, 2: 0.6})
    assert task().out_of_patience({0: 0.5, 1: 0.6, 2: 0.6, 3: 0.55})
    assert task("min").out_of_patience({0: 0.5, 1: 0.6, 2: 0.6})


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("direction", ["max", "min"])
def test_an_epoch_whose_objective_is_not_finite_is_not_the_best_one(direction: str, value: float) -> None:
    assert not task(direction).out_of_patience({0: value, 1: 0.5, 2: 0.5})
    assert task(direction).out_of_patience({0: value, 1: 0.5, 2: value, 3: value})
    assert task(direction).out_of_patience({0: value, 1: value, 2: value})
