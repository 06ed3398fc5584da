"""What an objective calls better, and which epoch it calls the best."""

import math
import subprocess
import sys

import pytest

from tuner.study.objective import Objective

MAX, MIN = Objective("val_accuracy", "max"), Objective("val_loss", "min")
NOT_FINITE = [math.nan, math.inf, -math.inf]


def test_more_is_better_for_an_accuracy_and_less_for_a_loss() -> None:
    assert MAX.is_better(0.6, 0.5)
    assert not MAX.is_better(0.5, 0.6)
    assert MIN.is_better(0.5, 0.6)
    assert not MIN.is_better(0.6, 0.5)


@pytest.mark.parametrize("objective", [MAX, MIN])
def test_a_value_is_not_better_than_an_equal_one(objective: Objective) -> None:
    assert not objective.is_better(0.5, 0.5)


@pytest.mark.parametrize("objective", [MAX, MIN])
@pytest.mark.parametrize("value", NOT_FINITE)
def test_any_number_is_better_than_one_that_is_not_finite(objective: Objective, value: float) -> None:
    for number in (-1.7e308, 0.0, 1.7e308):
        assert objective.is_better(number, value)
        assert not objective.is_better(value, number)
    assert not any(objective.is_better(value, other) for other in NOT_FINITE)


def test_sorting_puts_the_best_first_and_what_is_not_finite_last() -> None:
    values = [0.5, math.inf, 0.7, -0.1]
    assert sorted(values, key=MAX.sort_key) == [0.7, 0.5, -0.1, math.inf]
    assert sorted(values, key=MIN.sort_key) == [-0.1, 0.5, 0.7, math.inf]


def test_of_equally_good_epochs_the_first_is_the_best() -> None:
    values = {0: 0.4, 1: 0.6, 2: 0.6, 3: 0.5}
    assert (MAX.best(values), MIN.best(values)) == (1, 0)


@pytest.mark.parametrize("objective", [MAX, MIN])
@pytest.mark.parametrize("value", NOT_FINITE)
def test_a_value_that_is_not_finite_is_never_the_best(objective: Objective, value: float) -> None:
    assert objective.best({0: value, 1: 0.5, 2: value}) == 1
    assert objective.best({0: value, 1: value}) is None
    assert objective.best({}) is None


def test_comparing_loads_nothing_heavy() -> None:
    heavy = "{'keras', 'keras_tuner', 'grpc', 'prometheus_client', 'numpy', 'pydantic'}"
    program = f"import sys, tuner.study.objective; print({heavy} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", program], text=True).strip() == "set()"
