"""Which requests a study's state does not allow, with the sentence that says why."""

import re

import pytest

from tests.search.test_budgets import T0, T1, Night
from tests.search.test_control import request, started
from tests.search.test_oracle import at
from tuner.control.refusal import full_id, refusal, waiting_points
from tuner.control.request import Request
from tuner.errors import UsageError
from tuner.names import TrialId
from tuner.study.records import Action, Controlled, Outcome, Value


def stop(night: Night, *trials: str) -> str:
    return refusal(night.state, Request(action=Action.STOP, trials=tuple(TrialId(trial) for trial in trials)))


def enqueue(night: Night, **values: Value) -> str:
    return refusal(night.state, Request(action=Action.ENQUEUE, hyperparameters=values))


def enqueued(night: Night, **values: Value) -> None:
    record = Controlled(at=0, request=repr(values), action=Action.ENQUEUE, hyperparameters=values)
    night.keep(night.chief.control(record, at(0)))


def test_running_trials_and_waiting_ones_with_a_score_may_be_stopped_and_others_not() -> None:
    night, first = started()
    assert stop(night, T0) == ""
    assert stop(night, T0, T1) == (
        "trial 00001 waits for a worker and has no score to end with. Stop it during its first epoch. "
        "No trial was stopped."
    )
    night.keep(night.chief.give_back(first, Outcome.PREEMPTED, "", at(20)))
    assert stop(night, T0) == ""
    request(night, Action.STOP, T0, seconds=21)
    assert stop(night, T0) == "trial 00000 has ended already: it is STOPPED."


@pytest.mark.parametrize(
    ("text", "advice"), [("00011", r"Did you mean 00001\?"), ("x", r"List the trials with cifake-tune trials\.")]
)
def test_an_unknown_trial_is_refused_with_the_nearest(text: str, advice: str) -> None:
    assert re.fullmatch(f"there is no trial '{text}'. {advice}", stop(started()[0], text))


def test_leading_zeros_of_a_trial_are_optional() -> None:
    night, _ = started()
    assert [full_id(night.state, text) for text in ("0", "1", "00001", "7")] == [T0, T1, T1, "7"]


@pytest.mark.parametrize("text", ["", " "])
def test_an_empty_id_stops_no_trial(text: str) -> None:
    with pytest.raises(UsageError, match="the id of the trial to stop is empty"):
        full_id(started()[0].state, text)


def test_nothing_may_be_requested_of_a_search_that_has_finished() -> None:
    night, first = started()
    request(night, Action.STOP)
    night.epoch(first, 1, 0.6, 30)
    for action in Action:
        assert refusal(night.state, Request(action=action)) == "the search of study 'cifake' has finished."


def test_nothing_is_enqueued_once_the_search_ends() -> None:
    night, _ = started()
    request(night, Action.STOP)
    assert enqueue(night, units=9) == (
        "the search starts no more trials, because it is being ended by cifake-tune stop."
    )


def test_enqueued_configurations_wait_until_a_trial_has_them_and_count_as_trials_until_then() -> None:
    night, _ = started("search.max_trials=4", trials=2)
    enqueued(night, units=7)
    enqueued(night, units=1)
    assert waiting_points(night.state) == [{"units": 7}], "trial 00001 has the other"
    assert enqueue(night, units=9) == ""
    enqueued(night, units=8)
    assert enqueue(night, units=9).startswith("search.max_trials is 4, and there are 2 trials and 2 enqueued ones.")
    assert enqueue(started("search.max_hours=1", "search.max_trials=null")[0], units=9) == ""
