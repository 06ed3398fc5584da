"""States and their transitions: the table, exhaustively."""

import copy
from collections.abc import Callable

import pytest

from tests.search.test_oracle import oracle
from tuner.names import TrialId
from tuner.study.records import (
    AttemptEnded,
    Created,
    Ended,
    Leased,
    Outcome,
    Paused,
    Record,
    Reported,
    TrialState,
    Withdrawn,
)
from tuner.study.state import StudyState
from tuner.study.trial import TRANSITIONS, Trial

# ---- the table ----------------------------------------------------------------------------------
T = TrialId("t")
MOVES: list[tuple[Callable[[TrialId, int], Record], TrialState]] = [
    (lambda t, n: Leased(at=1, trial=t, attempt=n + 1, worker="a", incarnation="1"), TrialState.RUNNING),
    (lambda t, n: AttemptEnded(at=1, trial=t, attempt=n, outcome=Outcome.LOST, reason="r"), TrialState.QUEUED),
    (lambda t, n: Paused(at=1, trial=t, attempt=n, score=0.5), TrialState.PAUSED),
    (lambda t, n: Ended(at=1, trial=t, attempt=n, state=TrialState.COMPLETED, score=0.5), TrialState.COMPLETED),
    (lambda t, n: Ended(at=1, trial=t, attempt=n, state=TrialState.STOPPED, score=0.5), TrialState.STOPPED),
    (lambda t, n: Ended(at=1, trial=t, attempt=n, state=TrialState.FAILED), TrialState.FAILED),
]
"""A record that moves a trial, and where to."""


def reported(trial: TrialId, attempts: int) -> Record:
    return Reported(at=1, trial=trial, attempt=attempts, epoch=0, metrics={"val_accuracy": 0.5})


def one_trial(source: TrialState) -> StudyState:
    state = oracle().state
    state.trials[T] = Trial(T, {}, state=source, attempts=3)
    return state


def refused(state: StudyState, record: Record) -> None:
    original = copy.deepcopy(state)
    with pytest.raises(ValueError, match="t"):
        state.apply(record)
    assert state == original


@pytest.mark.parametrize("source", list(TrialState))
@pytest.mark.parametrize(("move", "target"), MOVES)
def test_a_trial_moves_as_the_table_says_or_not_at_all(
    source: TrialState, move: Callable[[TrialId, int], Record], target: TrialState
) -> None:
    state = one_trial(source)
    # an attempt's end comes from a running attempt or a paused trial: a queued trial is withdrawn instead
    withdrawn = Withdrawn(at=1, trial=T, score=0.5, best_epoch=0, reason="r", budget="b")
    if target in TRANSITIONS[source]:
        state.apply(withdrawn if source is TrialState.QUEUED and target is TrialState.STOPPED else move(T, 3))
        assert state.trials[T].state is target
    else:
        refused(state, move(T, 3))


@pytest.mark.parametrize("source", list(TrialState))
def test_only_a_running_trial_is_reported(source: TrialState) -> None:
    state = one_trial(source)
    if source is TrialState.RUNNING:
        state.apply(reported(T, 3))
        assert state.trials[T].state is source
        assert list(state.trials[T].epochs) == [0]
    else:
        refused(state, reported(T, 3))


@pytest.mark.parametrize("source", list(TrialState))
def test_a_trial_is_created_once(source: TrialState) -> None:
    refused(one_trial(source), Created(at=1, trial=T, hyperparameters={}, algorithm={}))


@pytest.mark.parametrize("source", list(TrialState))
@pytest.mark.parametrize("make", [move for move, _ in MOVES] + [reported])
@pytest.mark.parametrize("off", [-1, 1])
def test_no_attempt_but_the_newest_moves_a_trial(
    source: TrialState, make: Callable[[TrialId, int], Record], off: int
) -> None:
    refused(one_trial(source), make(T, 3 + off))


@pytest.mark.parametrize("make", [move for move, _ in MOVES] + [reported])
def test_a_record_of_a_trial_that_was_never_created_is_refused(make: Callable[[TrialId, int], Record]) -> None:
    refused(oracle().state, make(T, 3))


def test_every_state_can_be_reached_and_those_that_ended_are_left_no_more() -> None:
    assert set(TRANSITIONS) == set(TrialState)
    assert set().union(*TRANSITIONS.values()) == set(TrialState)
    final = {TrialState.COMPLETED, TrialState.STOPPED, TrialState.FAILED}
    assert {state for state, targets in TRANSITIONS.items() if not targets} == final
