"""Promotion: which trial a worker gets, which one is paused, and how a search with paused trials ends."""

import math
import random

import pytest

from tests.search.played_search import promoting
from tests.search.test_early_stopping import epochs, restart
from tests.search.test_oracle import A, B, add, at, take
from tuner.names import TrialId
from tuner.search.claims import AttemptClaim, StaleAttemptError, stock_attempt
from tuner.search.leases import Worker
from tuner.search.oracle import Oracle
from tuner.study.evidence import Evidence
from tuner.study.records import Outcome, TrialState
from tuner.study.trial import Trial

STOCK = Worker("tuner0")


def trial_of(chief: Oracle, number: int) -> Trial:
    return chief.state.trials[TrialId(f"{number:05d}")]


def state_of(chief: Oracle, number: int) -> TrialState:
    return trial_of(chief, number).state


def paused_at_first_rung(chief: Oracle, *values: float, worker: Worker = A) -> None:
    """Train one new trial for each value, for an epoch each; all must be paused."""
    for value in values:
        number = len(chief.state.trials)
        add(chief, number)
        attempt = take(chief, worker)
        assert attempt.trial == f"{number:05d}"
        epochs(chief, attempt, value)
        assert state_of(chief, number) is TrialState.PAUSED


def resumed(chief: Oracle, worker: Worker, *values: float) -> AttemptClaim:
    """Give a worker its next trial and report epochs after those that the trial has."""
    attempt = take(chief, worker)
    first = len(chief.state.trials[TrialId(attempt.trial)].epochs)
    epochs(chief, attempt, *values, first=first)
    return attempt


# ---- who is paused, and who is promoted ---------------------------------------------------------
def test_a_trial_at_a_rung_is_paused_with_its_score_and_checkpoint_and_its_worker_gets_another() -> None:
    chief = promoting()
    add(chief, 0)
    add(chief, 1)
    attempt = take(chief, A)
    *_, reported, paused = epochs(chief, attempt, 0.5, 0.6)
    assert (reported.kind, paused.kind) == ("reported", "paused")
    trial = trial_of(chief, 0)
    assert (trial.state, trial.score, trial.best_epoch, len(trial.epochs)) == (TrialState.PAUSED, 0.5, 0, 1)
    assert (trial.last_epoch, trial.checkpoints) == (0, {0: "00000/1/0"})
    assert trial.ended is None
    assert not trial.outcomes, "a pause costs no retry"
    assert trial.reason == "rung 0 (epoch 1): fewer than 3 trials have reached it"
    assert take(chief, A).trial == "00001"


def test_the_best_share_of_a_rung_is_promoted_once_enough_trials_have_reached_it() -> None:
    chief = promoting()
    paused_at_first_rung(chief, 0.5, 0.7)
    assert chief.queued == 0
    add(chief, 2)
    epochs(chief, take(chief, A), 0.6)
    assert state_of(chief, 2) is TrialState.PAUSED
    assert chief.queued == 1, "a third of three trials"
    assert take(chief, A).trial == "00001"
    assert trial_of(chief, 1).attempts == 2
    assert chief.queued == 0, "the best third has been promoted"


@pytest.mark.parametrize("direction", ["max", "min"])
def test_promoted_are_the_best_of_all_that_reached_the_rung_that_were_not_promoted_yet(direction: str) -> None:
    """As in algorithm 2 of the paper: top |rung| / eta of the rung, without those promoted before."""
    numbers, sign = random.Random(2), 1 if direction == "max" else -1
    chief = promoting(f"search.direction={direction}")
    chief.state.direction = direction  # type: ignore[assignment]
    chief = Oracle(chief.state, at(0))
    values: list[float] = []
    promoted: set[int] = set()
    for number in range(60):
        add(chief, number)
        while (attempt := take(chief, Worker(f"w{number}-{len(promoted)}", "1"))).number > 1:
            best = sorted(range(len(values)), key=lambda n: (-values[n], n))[: len(values) // 3]
            assert int(attempt.trial) == next(n for n in best if n not in promoted)
            promoted.add(int(attempt.trial))  # its worker keeps it, so it reaches no other rung
        values.append(numbers.choice([0.1, 0.2, numbers.random()]))  # with ties
        epochs(chief, attempt, sign * values[-1])
        if state_of(chief, number) is TrialState.RUNNING:  # it is the one that would be promoted
            promoted.add(number)
    assert len(promoted) >= 15


def test_a_trial_goes_on_without_a_pause_if_its_worker_would_get_it_again() -> None:
    chief = promoting()
    paused_at_first_rung(chief, 0.5, 0.6)
    add(chief, 2)
    add(chief, 3)
    epochs(chief, take(chief, A), 0.7, 0.7)
    assert (state_of(chief, 2), trial_of(chief, 2).attempts) == (TrialState.RUNNING, 1)


def test_the_best_trial_of_a_later_rung_continues_however_few_have_reached_it() -> None:
    chief = promoting()
    paused_at_first_rung(chief, 0.5, 0.6)
    for number in (2, 3):
        add(chief, number)
    epochs(chief, take(chief, A), 0.7, 0.7, 0.7, 0.7)
    assert (state_of(chief, 2), len(trial_of(chief, 2).rungs)) == (TrialState.RUNNING, 2), "alone at the second rung"
    epochs(chief, take(chief, B), 0.65)
    paused_at_first_rung(chief, 0.1, 0.2, worker=B)
    resumed(chief, B, 0.65, 0.69)
    assert (state_of(chief, 3), len(trial_of(chief, 3).rungs)) == (TrialState.PAUSED, 2), "the second best of two"
    assert trial_of(chief, 3).reason == "rung 1 (epoch 3): val_accuracy 0.6900 is not the best of 2"


def test_a_rung_whose_only_trial_failed_promotes_none() -> None:
    chief = promoting("search.early_stopping.reduction_factor=2", "retries.failure=0")
    attempts = []
    for number in range(3):
        add(chief, number)
        attempts.append(take(chief, Worker(f"w{number}", "1")))
    epochs(chief, attempts[0], 0.9)
    epochs(chief, attempts[1], 0.1)
    promoted = take(chief, A)
    chief.give_back(attempts[2], Outcome.PREEMPTED, "", at(5))
    epochs(chief, promoted, 0.9, first=1)
    assert (state_of(chief, 0), len(trial_of(chief, 0).rungs)) == (TrialState.PAUSED, 2)
    assert take(chief, A).trial == "00002", "the interrupted trial comes first"
    chief.give_back(take(chief, B), Outcome.FAILED, "", at(6))
    assert state_of(chief, 0) is TrialState.FAILED
    assert chief.queued == 0


def test_the_highest_rung_is_promoted_first() -> None:
    chief = promoting("search.early_stopping.reduction_factor=2")
    attempts = []
    for number in range(4):
        add(chief, number)
        attempts.append(take(chief, Worker(f"w{number}", "1")))
    epochs(chief, attempts[0], 0.9)
    epochs(chief, attempts[1], 0.1)
    promoted = take(chief, A)
    assert promoted.trial == "00000"
    chief.give_back(attempts[3], Outcome.PREEMPTED, "", at(5))
    epochs(chief, promoted, 0.9, 0.9, first=1)
    assert state_of(chief, 0) is TrialState.PAUSED, "its worker gets the interrupted trial first"
    epochs(chief, take(chief, A), 0.8)
    epochs(chief, attempts[2], 0.7)
    assert {trial.state for trial in chief.state.trials.values()} == {TrialState.PAUSED}
    assert [len(trial.rungs) for trial in chief.state.trials.values()] == [2, 1, 1, 1]
    assert [take(chief, A).trial, take(chief, B).trial] == ["00000", "00003"]


# ---- the order of work --------------------------------------------------------------------------
def test_a_worker_gets_an_interrupted_trial_then_a_promotable_one_then_a_new_one() -> None:
    chief = promoting()
    paused_at_first_rung(chief, 0.5, 0.7)
    add(chief, 2)
    interrupted = take(chief, B)
    add(chief, 3)
    epochs(chief, take(chief, A), 0.6)  # now the second trial can be promoted
    add(chief, 4)
    chief.give_back(interrupted, Outcome.PREEMPTED, "", at(1))
    order = [take(chief, Worker(f"w{number}", "1")).trial for number in range(3)]
    assert order == ["00002", "00001", "00004"]


def test_the_worker_that_trained_a_promotable_trial_last_is_preferred() -> None:
    chief = promoting()
    workers = [Worker(f"w{number}", "1") for number in range(6)]
    for number, worker in enumerate(workers):
        add(chief, number)
        take(chief, worker)
    for number, worker in enumerate(workers):
        epochs(chief, AttemptClaim(worker, f"{number:05d}", 1), (0.9, 0.8, 0.1, 0.1, 0.1, 0.1)[number])
    assert chief.queued == 2
    assert take(chief, workers[1]).trial == "00001", "its own, though another is better"
    assert take(chief, workers[5]).trial == "00000"


def test_a_stock_worker_gets_no_paused_trial_as_long_as_there_are_new_ones() -> None:
    chief = promoting()
    paused_at_first_rung(chief, 0.5, 0.7)
    add(chief, 2)
    epochs(chief, take(chief, A), 0.6)
    add(chief, 3)
    assert take(chief, STOCK).trial == "00003"
    assert take(chief, A).trial == "00001"


def test_after_the_last_suggestion_a_stock_worker_gets_no_paused_trial_whose_model_it_would_lose() -> None:
    chief = promoting("leases.stock_duration_s=600", epochs=9)
    paused_at_first_rung(chief, 0.5, 0.7)
    add(chief, 2)
    epochs(chief, take(chief, A), 0.6)
    chief.exhausted = True
    assert (chief.queued, chief.queued_for(stock=True)) == (1, 0)
    for seconds in (10, 500):
        chief.record_time(0, at(seconds))
        assert chief.grant(STOCK, at(seconds))[0] is None
        assert chief.finish(at(seconds)) == [], "another worker may return"
    chief.record_time(0, at(700))
    assert chief.grant(STOCK, at(700))[0] is None
    assert [record.kind for record in chief.finish(at(700))] == ["ended", "ended", "ended", "finished"]
    assert [trial.trial_id for trial in chief.state.best()] == ["00001"], "with its model"
    assert trial_of(chief, 1).reason == "rung 0 (epoch 1): no worker that can resume it was left"
    assert trial_of(chief, 0).reason == "rung 0 (epoch 1): val_accuracy 0.5000 is not the best of 3"


@pytest.mark.parametrize("policy", ["stopping", "promotion", "none"])
def test_a_stock_worker_gets_no_interrupted_trial_whose_model_it_would_lose(policy: str) -> None:
    chief = promoting(f"search.early_stopping.policy={policy}", "search.early_stopping.min_epochs=5", trials=3)
    for number in range(3):
        add(chief, number)
    saved, unsaved = take(chief, A), take(chief, B)
    epochs(chief, saved, 0.5, 0.7, 0.6)
    for attempt in (unsaved, saved):
        chief.give_back(attempt, Outcome.PREEMPTED, "", at(9))
    assert (chief.queued, chief.queued_for(stock=True)) == (3, 2)
    assert take(chief, STOCK, 10).trial == unsaved.trial
    assert take(chief, Worker("tuner1"), 10).trial == "00002"
    assert chief.grant(Worker("tuner2"), at(10))[0] is None
    again = take(chief, A, 11)
    assert again.trial == saved.trial
    assert sorted(trial_of(chief, 0).checkpoints) == [0, 1, 2]


def test_if_only_stock_workers_are_left_an_interrupted_trial_ends_with_its_score_and_model() -> None:
    chief = promoting("search.early_stopping.policy=none", "leases.stock_duration_s=600", epochs=9, trials=1)
    add(chief, 0)
    attempt = take(chief, A)
    epochs(chief, attempt, 0.5, 0.7, 0.6)
    chief.give_back(attempt, Outcome.PREEMPTED, "", at(9))
    chief.exhausted = True
    for seconds in (10, 500):
        chief.record_time(0, at(seconds))
        assert chief.grant(STOCK, at(seconds))[0] is None
        assert chief.finish(at(seconds)) == [], "another worker may return"
    chief.record_time(0, at(700))
    assert chief.grant(STOCK, at(700))[0] is None
    assert [record.kind for record in chief.finish(at(700))] == ["withdrawn", "finished"]
    (trial,) = chief.state.best()
    assert (trial.state, trial.score, trial.checkpoint) == (TrialState.STOPPED, 0.7, "00000/1/1")
    assert trial.reason == "epoch 3: no worker that can resume it was left"


def test_paused_trials_wait_for_a_worker_that_can_resume_them_if_no_stock_worker_asks() -> None:
    chief = promoting("leases.stock_duration_s=600", epochs=9)
    paused_at_first_rung(chief, 0.5, 0.6)
    add(chief, 2)
    epochs(chief, take(chief, A), 0.4)
    chief.exhausted = True
    chief.record_time(0, at(5000))
    assert chief.finish(at(5000)) == []
    assert take(chief, A, 5000).trial == "00001"


def test_trials_that_were_interrupted_continue_in_the_same_order_after_a_restart() -> None:
    orders = []
    for restarted in (False, True):
        chief = promoting()
        attempts = []
        for number in range(3):
            add(chief, number)
            attempts.append(take(chief, Worker(f"w{number}", "1")))
        for seconds, number in enumerate((1, 2, 0)):
            chief.give_back(attempts[number], Outcome.PREEMPTED, "", at(seconds + 1))
        chief = restart(chief) if restarted else chief
        orders.append([take(chief, Worker(f"w{number}", "1")).trial for number in range(3)])
    assert orders == [["00000", "00002", "00001"]] * 2, "the newest first"


# ---- who is not paused --------------------------------------------------------------------------
def test_a_trial_whose_worker_would_get_nothing_else_goes_on() -> None:
    chief = promoting(trials=2)
    add(chief, 0)
    add(chief, 1)
    better, worse = take(chief, A), take(chief, B)
    epochs(chief, better, 0.6, 0.6, 0.6)
    epochs(chief, worse, 0.5, 0.5, 0.5)
    assert [state_of(chief, 0), state_of(chief, 1)] == [TrialState.RUNNING] * 2


@pytest.mark.parametrize(("start_s", "paused"), [(15.0, True), (21.0, False), (None, True)])
def test_a_trial_is_not_paused_if_its_next_rung_is_closer_than_a_restart(start_s: float | None, paused: bool) -> None:
    """Two epochs of 10 s are left until the second rung."""
    chief = promoting()
    add(chief, 0)
    attempt = take(chief, A, 100)
    lasts_s = 10 + (start_s or 0.0)
    chief.report(attempt, 0, {"val_accuracy": 0.5}, "m", at(100 + lasts_s), start_s=start_s)
    assert (state_of(chief, 0) is TrialState.PAUSED) == paused


@pytest.mark.parametrize(("whole", "state"), [(11, TrialState.RUNNING), (27, TrialState.PAUSED)])
def test_its_last_epoch_counts_as_a_rung(whole: int, state: TrialState) -> None:
    """After 9 epochs of 10 s each, 2 or 18 epochs are left, and a restart takes 25 s."""
    chief = promoting("search.early_stopping.min_epochs=9", epochs=whole)
    add(chief, 0)
    attempt = take(chief, A)
    for epoch in range(9):
        start_s = None if epoch else 25.0
        chief.report(attempt, epoch, {"val_accuracy": 0.5}, "m", at(25 + 10 * (epoch + 1)), start_s=start_s)
    assert state_of(chief, 0) is state


def test_a_trial_that_could_not_resume_is_not_paused() -> None:
    chief = promoting()
    for number in range(3):
        add(chief, number)
    chief.report(take(chief, A), 0, {"val_accuracy": 0.5}, None, at(1))
    chief.report(take(chief, B), 0, {"val_accuracy": 0.5}, "m", at(1), evidence=Evidence(returned=True))
    take(chief, STOCK)
    chief.report(stock_attempt(TrialId("00002"), 1, chief.state.trials), 0, {"val_accuracy": 0.5}, "m", at(1))
    assert {trial.state for trial in chief.state.trials.values()} == {TrialState.RUNNING}


def test_a_trial_without_a_number_for_its_objective_is_not_paused() -> None:
    chief = promoting()
    add(chief, 0)
    epochs(chief, take(chief, A), math.nan)
    assert state_of(chief, 0) is TrialState.RUNNING


@pytest.mark.parametrize("restarted", [False, True])
def test_a_failed_trial_holds_no_other_back(restarted: bool) -> None:
    chief = promoting("retries.failure=0", "search.max_consecutive_failures=9")
    paused_at_first_rung(chief, 0.5, 0.4)
    add(chief, 2)
    failing = take(chief, A)
    epochs(chief, failing, 0.9)
    assert state_of(chief, 2) is TrialState.RUNNING
    chief.give_back(failing, Outcome.FAILED, "", at(1))
    add(chief, 3)
    epochs(chief, take(chief, A), 0.3)
    chief = restart(chief) if restarted else chief
    assert take(chief, B).trial == "00000", "a third of three, without the failed one"


# ---- what a worker still says -------------------------------------------------------------------
def test_what_a_worker_still_says_of_a_paused_trial_is_answered_and_changes_nothing() -> None:
    chief = promoting()
    add(chief, 0)
    attempt = take(chief, A)
    epochs(chief, attempt, 0.5)
    snapshot = repr(chief.state)
    assert chief.report(attempt, 0, {"val_accuracy": 0.5}, "00000/1/0", at(3)) == []
    assert chief.report(attempt, 1, {"val_accuracy": 0.9}, "00000/1/1", at(3)) == []
    assert chief.beat(attempt, at(3))
    assert chief.complete(attempt, at(3)) == []
    assert chief.give_back(attempt, Outcome.PREEMPTED, "", at(3)) == []
    assert chief.expire(at(1000)) == []
    assert repr(chief.state) == snapshot
    with pytest.raises(StaleAttemptError):
        chief.report(AttemptClaim(B, attempt.trial, 1), 0, {"val_accuracy": 0.5}, None, at(3))


def test_the_attempt_before_a_promotion_is_stale() -> None:
    chief = promoting()
    add(chief, 0)
    old = take(chief, A)
    epochs(chief, old, 0.9)
    paused_at_first_rung(chief, 0.5)
    add(chief, 2)
    epochs(chief, take(chief, B), 0.4)
    assert take(chief, B) == AttemptClaim(B, old.trial, 2)
    with pytest.raises(StaleAttemptError):
        chief.report(old, 0, {"val_accuracy": 0.9}, "00000/1/0", at(3))
    assert not chief.beat(old, at(3))


# ---- interruptions ------------------------------------------------------------------------------
def test_a_promoted_trial_that_is_preempted_continues_first_and_is_judged_at_its_next_rung() -> None:
    chief = promoting()
    paused_at_first_rung(chief, 0.5, 0.6)
    add(chief, 2)
    epochs(chief, take(chief, A), 0.9, 0.9, 0.9)  # it is the best at the second rung, and continues
    paused_at_first_rung(chief, 0.7, 0.1, worker=B)
    add(chief, 5)
    epochs(chief, take(chief, B), 0.6)
    promoted = resumed(chief, B, 0.8)
    assert (promoted.trial, promoted.number) == ("00003", 2)
    chief.give_back(promoted, Outcome.PREEMPTED, "", at(5))
    chief = restart(chief)
    add(chief, 6)
    again = resumed(chief, B, 0.75)
    assert (again.trial, again.number) == ("00003", 3)
    trial = trial_of(chief, 3)
    assert (trial.state, trial.rungs, trial.score) == (TrialState.PAUSED, {0: 0.7, 1: 0.8}, 0.8)
    assert trial.outcomes == {Outcome.PREEMPTED: 1}
