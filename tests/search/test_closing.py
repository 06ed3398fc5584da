"""A search with promotion completes its finalists before a budget of hours ends."""

from collections.abc import Sequence

import pytest

from tests.search.played_search import Search, promoting
from tests.search.test_oracle import A, B, add, at
from tests.search.test_promotion import state_of
from tuner.names import TrialId
from tuner.search.capacity import epoch_s, start_s
from tuner.search.claims import AttemptClaim, Instant
from tuner.search.closing import Closing
from tuner.search.leases import Worker
from tuner.search.oracle import Oracle
from tuner.study.progress import end_of_search
from tuner.study.records import Ended, Outcome, Record, TrialState
from tuner.study.trial import Trial
from tuner.study.work_time import WorkTime

HOUR = 3600.0
NO_LEASE_LIMIT = "leases.duration_s=1e6"


def budgeted(*settings: str, epochs: int = 9) -> Oracle:
    """Return the chief of a study that only budgets of hours limit, with rungs at 1 and 3 epochs."""
    return promoting("search.max_trials=null", NO_LEASE_LIMIT, *settings, epochs=epochs)


def trained(chief: Oracle, attempt: AttemptClaim, *values: float, began: float, epoch_s: float = 60) -> list[Record]:
    """Report one epoch for each value, `epoch_s` after the other, after the epochs that the trial has."""
    trial = chief.state.trials[TrialId(attempt.trial)]
    records: list[Record] = []
    for number, value in enumerate(values, 1):
        epoch, now = len(trial.epochs), at(began + number * epoch_s)
        records += chief.report(attempt, epoch, {"val_accuracy": value}, f"{attempt.trial}/{epoch}", now)
        records += chief.finish(now)
    return records


def paused(chief: Oracle, number: int, value: float, began: float, epoch_s: float = 60, worker: Worker = A) -> None:
    """Train a new trial for an epoch, after which it is paused."""
    add(chief, number)
    trained(chief, taken(chief, worker, began), value, began=began, epoch_s=epoch_s)
    assert state_of(chief, number) is TrialState.PAUSED


def taken(chief: Oracle, worker: Worker, seconds: float) -> AttemptClaim:
    trial, _ = chief.grant(worker, at(seconds))
    assert trial is not None
    return AttemptClaim(worker, trial.trial_id, trial.attempts)


# ---- whole searches -----------------------------------------------------------------------------
@pytest.mark.parametrize("budget", ["max_hours", "max_worker_hours"])
@pytest.mark.parametrize("workers", [1, 2, 5])
@pytest.mark.parametrize("finalists", [1, 3])
@pytest.mark.parametrize("seed", range(4))
def test_the_finalists_are_complete_when_a_budget_of_hours_ends(
    budget: str, workers: int, finalists: int, seed: int
) -> None:
    # with steps of one second, a worker trains an epoch in as many seconds as there are workers
    served_s = 20 + 40 * max(workers, finalists)
    seconds = served_s * (workers if budget == "max_worker_hours" else 1)
    chief = budgeted(f"search.{budget}={seconds / HOUR}", f"search.finalists={finalists}", epochs=27)
    search = Search(chief, 10**6, workers, seed)
    state = search.play()
    assert state.finished is not None
    assert state.finished.budget == f"search.{budget}"
    complete = sum(trial.state is TrialState.COMPLETED for trial in state.trials.values())
    assert complete >= finalists
    used = state.time.served_s if budget == "max_hours" else state.time.leased_s
    assert used >= 0.95 * seconds, "the remaining time is used for other trials"
    assert len(state.trials) > 4 * finalists
    assert {trial.state for trial in state.trials.values()} <= {
        TrialState.COMPLETED, TrialState.STOPPED, TrialState.QUEUED,
    }  # fmt: skip
    scored = [trial for trial in state.trials.values() if trial.epochs]
    assert all(trial.ended is not None for trial in scored), "every trial with a score has ended"


def test_a_chief_restarted_at_every_step_closes_the_search_too() -> None:
    chief = budgeted(f"search.max_hours={300 / HOUR}")
    search = Search(chief, 10**6, 2, 3)
    state = search.play(restarts=True)
    assert any(trial.state is TrialState.COMPLETED for trial in state.trials.values())
    assert state.finished is not None
    assert state.finished.budget == "search.max_hours"


# ---- when ---------------------------------------------------------------------------------------
def test_no_trial_is_suggested_once_the_time_is_just_enough_for_the_finalist() -> None:
    chief = budgeted("search.max_hours=1")
    paused(chief, 0, 0.7, 0)
    paused(chief, 1, 0.5, 60)
    # eight epochs remain, and another one may take longer than those before
    chief.record_time(0, at(HOUR - 9 * 60 - 31))
    assert chief.wants_suggestion, "there is time for another trial"
    chief.record_time(0, at(HOUR - 9 * 60))
    assert not chief.starts_trials
    assert not chief.wants_suggestion
    assert chief.queued == 1
    assert taken(chief, A, HOUR - 9 * 60).trial == "00000"


def test_new_trials_start_again_if_the_finalist_was_faster_than_before() -> None:
    chief = budgeted("search.max_hours=1")
    paused(chief, 0, 0.7, 0)
    paused(chief, 1, 0.5, 60)
    late = HOUR - 9 * 60
    chief.record_time(0, at(late))
    attempt = taken(chief, A, late)
    assert not chief.wants_suggestion
    trained(chief, attempt, 0.8, 0.8, began=late, epoch_s=10)
    assert state_of(chief, 0) is TrialState.RUNNING, "it is the best of its rung"
    assert chief.wants_suggestion


def test_a_trial_that_cannot_be_completed_in_time_is_passed_over() -> None:
    chief = budgeted("search.max_hours=1")
    paused(chief, 0, 0.5, 0)
    paused(chief, 1, 0.9, 60, epoch_s=600)  # the best, and slow: 80 minutes remain
    paused(chief, 2, 0.6, 660)
    chief.record_time(0, at(HOUR - 8 * 60 - 30))
    assert not chief.starts_trials
    assert taken(chief, A, HOUR - 8 * 60 - 30).trial == "00002"


def test_another_running_trial_is_paused_if_the_finalist_needs_its_worker() -> None:
    chief = budgeted("search.max_hours=1")
    for number, value in enumerate((0.7, 0.5, 0.6)):
        paused(chief, number, value, 60.0 * number)
    promoted = taken(chief, A, 180)
    assert promoted.trial == "00000"
    trained(chief, promoted, 0.7, began=180)  # two of three epochs until its next rung
    add(chief, 3)
    running = taken(chief, B, 240)
    chief.give_back(promoted, Outcome.PREEMPTED, "preempted", at(250))
    late = HOUR - 9 * 60
    trained(chief, running, 0.1, began=late - 60)
    assert state_of(chief, 3) is TrialState.PAUSED
    assert taken(chief, B, late).trial == "00000"


@pytest.mark.parametrize(("budget", "used_s"), [("max_hours", 180), ("max_worker_hours", 360)])
def test_other_trials_continue_only_if_they_cost_the_finalist_nothing(budget: str, used_s: float) -> None:
    chief = budgeted(f"search.{budget}={(used_s + 9 * 60 + 1) / HOUR}")
    add(chief, 0)
    interrupted = taken(chief, B, 0)
    for number, value in enumerate((0.7, 0.6, 0.5), 1):
        paused(chief, number, value, 60.0 * (number - 1))
    chief.give_back(interrupted, Outcome.PREEMPTED, "preempted", at(180))
    assert not chief.starts_trials
    assert taken(chief, A, 180).trial == "00001"
    trial, _ = chief.grant(B, at(180))
    assert (trial and trial.trial_id) == ("00000" if budget == "max_hours" else None)


# ---- if it cannot be done -----------------------------------------------------------------------
def test_a_budget_that_is_shorter_than_a_trial_ends_with_the_best_paused_trial_and_says_so() -> None:
    chief = budgeted(f"search.max_hours={12 / HOUR}", epochs=100)
    state = Search(chief, 10**6, 1).play()
    (best,) = state.best()
    assert best.state is TrialState.STOPPED
    assert state.finished is not None
    assert end_of_search(state) == (
        f"ended by search.max_hours ({12 / HOUR:g} h), before the best trial {best.trial_id} was complete "
        f"({len(best.epochs)} of 100 epochs)"
    )


def test_a_paused_trial_that_would_have_continued_is_ended_by_the_budget_and_the_others_by_their_rung() -> None:
    chief = budgeted("search.max_hours=1", epochs=100)
    for number, value in enumerate((0.5, 0.7, 0.6)):
        paused(chief, number, value, 60.0 * number)
    records = chief.finish(at(HOUR))
    assert [record.kind for record in records] == ["budget_ended", "ended", "ended", "ended", "finished"]
    ends = {str(record.trial): (record.reason, record.budget) for record in records if isinstance(record, Ended)}
    assert ends["00001"] == ("ended by search.max_hours (1 h)", "search.max_hours")
    assert ends["00000"] == ("rung 0 (epoch 1): val_accuracy 0.5000 is not the best of 3", "")


def test_a_running_trial_is_stopped_and_not_paused_once_a_budget_has_ended() -> None:
    chief = budgeted("search.max_hours=1", epochs=100)
    paused(chief, 0, 0.9, 0)
    add(chief, 1)
    attempt = taken(chief, A, 100)
    chief.expire(at(HOUR))
    records = trained(chief, attempt, 0.5, began=HOUR)
    assert [record.kind for record in records] == ["reported", "ended", "ended", "finished"]
    assert state_of(chief, 1) is TrialState.STOPPED
    assert chief.state.trials[TrialId(attempt.trial)].budget == "search.max_hours"


def test_nothing_closes_a_search_without_a_budget_of_hours() -> None:
    chief = promoting("search.target=0.99", "search.max_trials=null")
    paused(chief, 0, 0.5, 0)
    chief.record_time(0, at(1e6))
    assert chief.starts_trials


def test_a_thousand_running_trials_are_compared_once_per_record(monkeypatch: pytest.MonkeyPatch) -> None:
    chief = budgeted("search.max_hours=1")
    attempts = []
    for number in range(1000):
        add(chief, number)
        attempts.append(taken(chief, Worker(f"w{number}", "1"), 0))
    compared: list[int] = []
    finalists = Closing.finalists

    def counted(closing: Closing, active: Sequence[Trial]) -> list[TrialId]:
        compared.append(len(active))
        return finalists(closing, active)

    monkeypatch.setattr(Closing, "finalists", counted)
    records = []
    for number, attempt in enumerate(attempts[:5]):
        records += trained(chief, attempt, 0.5 + number / 10, began=HOUR - 9 * 60)
        answers = (chief.starts_trials, chief.wants_suggestion, chief.queued)
        assert answers == (chief.starts_trials, chief.wants_suggestion, chief.queued), "asking changes nothing"
    assert max(compared) == 1000
    assert len(compared) <= len(records)


# ---- the speed of a trial -----------------------------------------------------------------------
def test_each_start_of_a_trial_is_no_part_of_its_seconds_per_epoch_also_after_an_interruption() -> None:
    chief = promoting(NO_LEASE_LIMIT, "search.early_stopping.min_epochs=9")
    add(chief, 0)
    trial, now = chief.state.trials[TrialId("00000")], 0.0
    for first in (0, 2, 4):
        attempt, now = taken(chief, A, now), now + 100
        for epoch, measured_s in ((first, 100), (first + 1, None)):
            now += 10
            chief.report(attempt, epoch, {"val_accuracy": 0.5}, f"m{epoch}", at(now), start_s=measured_s)
        assert epoch_s(trial) == pytest.approx(10)
        chief.give_back(attempt, Outcome.PREEMPTED, "preempted", at(now))
        assert epoch_s(trial) == pytest.approx(10)


@pytest.mark.parametrize(("measured", "seconds", "start"), [(14.0, 1.0, 14.0), (20.0, 15.0, None), (None, 15.0, None)])
def test_starts_that_took_longer_than_all_epochs_with_them_were_measured_wrongly(
    measured: float | None, seconds: float, start: float | None
) -> None:
    work = WorkTime(epochs={0: 15.0, 1: 15.0}, first=[0, 1])
    trial = Trial(TrialId("00000"), {}, start_s=measured, work=work)
    assert (epoch_s(trial), start_s(trial)) == (seconds, start)


def test_a_wall_clock_that_is_set_back_changes_no_pause() -> None:
    """Two epochs of 100 s are left until the next rung, and a restart takes 15 s."""
    chief = promoting(NO_LEASE_LIMIT)
    for number in (0, 1):
        add(chief, number)
    attempt = taken(chief, A, 0)
    chief.report(attempt, 0, {"val_accuracy": 0.5}, "m", Instant(1e9 + 20, 115), start_s=15)
    assert state_of(chief, 0) is TrialState.PAUSED
