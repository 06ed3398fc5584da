"""What the environment makes fail is repeated with growing pauses, until it works or has failed for too long."""

import pytest

from tuner.errors import EnvironmentFailure
from tuner.worker.patience import Patience


class Failing:
    """An action that fails a number of times."""

    def __init__(self, failures: int) -> None:
        self.left = failures
        self.calls = 0

    def __call__(self) -> str:
        self.calls += 1
        self.left -= 1
        if self.left >= 0:
            raise EnvironmentFailure(f"failure {self.calls}")
        return "done"


class Pauses(list[float]):
    def __call__(self, seconds: float) -> bool:
        self.append(seconds)
        return True


def test_an_action_that_works_is_called_once() -> None:
    shown: list[str] = []
    assert Patience(60, shown.append).repeat(action := Failing(0), Pauses()) == "done"
    assert (action.calls, shown) == (1, [])


def test_each_failure_is_shown_until_the_action_works() -> None:
    shown: list[str] = []
    patience = Patience(60, shown.append)
    assert patience.repeat(Failing(3), pauses := Pauses()) == "done"
    assert shown == ["failure 1", "failure 2", "failure 3", ""]
    assert pauses == [0.5, 1.0, 2.0]
    assert (patience.is_waiting, patience.failing_s()) == (False, 0.0)


def test_after_its_limit_the_last_failure_is_raised_and_still_counts() -> None:
    patience = Patience(0.0)
    with pytest.raises(EnvironmentFailure, match="failure 1"):
        patience.repeat(Failing(5), Pauses())
    assert patience.is_waiting


def test_an_action_that_is_not_wanted_any_more_is_not_called_again() -> None:
    with pytest.raises(EnvironmentFailure, match="failure 1"):
        Patience(60).repeat(action := Failing(5), lambda seconds: False)
    assert action.calls == 1


def test_another_error_is_not_waited_for() -> None:
    with pytest.raises(ZeroDivisionError):
        Patience(60).repeat(lambda: 1 / 0, Pauses())
