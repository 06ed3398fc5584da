"""Budgets end a search or a trial, by the journal's time alone, and nothing that a chief forgets resets them."""

from collections.abc import Iterator
from math import inf

import pytest

from tests.search.test_oracle import A, B, add, at, oracle, take
from tests.support.records import state_of
from tuner.config.loading import load
from tuner.names import TrialId
from tuner.search.claims import AttemptClaim, Instant
from tuner.search.leases import Worker
from tuner.search.oracle import Oracle
from tuner.search.suggester import Suggestion
from tuner.study.budgets import RemainingHours, budget_uses, remaining_budget_s, remaining_hours
from tuner.study.evidence import Evidence
from tuner.study.records import BudgetEnded, Ended, Finished, Opened, Outcome, Record, Served, TrialState, Withdrawn
from tuner.study.state import StudyState

HOUR = 3600.0
T0, T1 = TrialId("00000"), TrialId("00001")
NO_LEASE_LIMIT = "leases.duration_s=1e6"


class Night:
    """A study that keeps its records, so that another chief can continue it."""

    def __init__(self, *settings: str) -> None:
        self.settings = (NO_LEASE_LIMIT, "search.early_stopping.policy=none", *settings)
        self.records: list[Record] = [self._opened(1)]
        self.chief = Oracle(state_of(self.records), at(0))

    def _opened(self, term: int) -> Opened:
        return Opened(at=0, term=term, writer="w", study=load(settings=self.settings), data="d", direction="max")

    @property
    def state(self) -> StudyState:
        return self.chief.state

    def keep(self, records: list[Record]) -> list[Record]:
        self.records += records
        return records

    def add(self, number: int) -> None:
        self.keep(self.chief.add(Suggestion(TrialId(f"{number:05d}"), {"units": number}, {}), at(0)))

    def take(self, worker: Worker, seconds: float) -> AttemptClaim:
        trial, records = self.chief.grant(worker, at(seconds))
        self.keep(records)
        assert trial is not None
        return AttemptClaim(worker, trial.trial_id, trial.attempts)

    def epoch(self, attempt: AttemptClaim, epoch: int, value: float, seconds: float) -> list[Record]:
        name = f"{attempt.trial}-{epoch}.keras"
        records = self.chief.report(attempt, epoch, {"val_accuracy": value}, name, at(seconds))
        return self.keep(records + self.chief.finish(at(seconds)))

    def tick(self, seconds: float) -> list[Record]:
        records = self.chief.expire(at(seconds))
        return self.keep(records + self.chief.finish(at(seconds)))

    def restart(self, *more: str, monotonic: float = 0.0) -> None:
        """Another chief continues, on another machine, whose monotonic clock and wall clock have nothing in common."""
        self.settings = (*self.settings, *more)
        self.records.append(self._opened(self.state.term + 1))
        self.chief = Oracle(state_of(self.records), Instant(5e9, monotonic))


def ends(records: list[Record]) -> Iterator[Record]:
    return (record for record in records if isinstance(record, BudgetEnded | Ended | Withdrawn | Finished))


def test_when_the_hours_end_no_trial_starts_and_running_ones_stop_after_their_epoch() -> None:
    night = Night("search.max_hours=1")
    for number in range(3):
        night.add(number)
    first, second = night.take(A, 0), night.take(B, 0)
    night.epoch(first, 0, 0.5, 1000)
    night.epoch(second, 0, 0.6, 1000)
    assert night.tick(HOUR - 1) == []
    assert [record.kind for record in night.tick(HOUR)] == ["budget_ended"]
    assert not night.chief.wants_suggestion
    assert night.chief.grant(A, at(HOUR))[0] is night.state.trials[T0], "a lease that is held is answered again"
    _, stopped = night.epoch(first, 1, 0.7, HOUR + 100)
    assert isinstance(stopped, Ended)
    assert (stopped.state, stopped.score) == (TrialState.STOPPED, 0.7)
    assert stopped.reason == "ended by search.max_hours (1 h)"
    assert night.chief.grant(A, at(HOUR + 100)) == (None, []), "the third trial does not start"
    *_, finished = night.epoch(second, 1, 0.9, HOUR + 200)
    assert isinstance(finished, Finished)
    assert (finished.reason, finished.budget) == ("ended by search.max_hours (1 h)", "search.max_hours")
    assert not finished.failed
    assert [trial.trial_id for trial in night.state.best()] == [T1]
    assert repr(state_of(night.records)) == repr(night.state)


def test_a_worker_that_asks_before_the_regular_check_gets_no_trial_after_the_hours() -> None:
    night = Night("search.max_hours=1")
    night.add(0)
    trial, records = night.chief.grant(A, at(HOUR))
    assert trial is None
    assert [type(record) for record in records] == [BudgetEnded]


def test_time_without_a_chief_does_not_count_and_a_restart_resets_nothing() -> None:
    night = Night("search.max_hours=1")
    night.add(0)
    attempt = night.take(A, 0)
    night.epoch(attempt, 0, 0.5, 2000)
    night.restart(monotonic=1e6)
    assert night.chief.expire(Instant(5e9, 1e6 + 1599)) == []
    (ended,) = night.chief.expire(Instant(1.0, 1e6 + 1600))
    assert isinstance(ended, BudgetEnded)
    assert ended.served_s == 1600
    assert night.state.time.served_s == HOUR


def test_a_restarted_chief_continues_to_end_the_search() -> None:
    night = Night("search.patience_trials=1")
    for number in range(3):
        night.add(number)
    running = night.take(B, 0)
    for number in range(2):
        attempt = night.take(A, number)
        night.epoch(attempt, 0, 0.5, number)
        night.keep(night.chief.complete(attempt, at(number)))
    assert [record.kind for record in night.tick(6)] == ["budget_ended"]
    night.restart()
    assert night.state.ending
    assert night.chief.grant(A, at(1)) == (None, [])
    # a better score than ever before does not revive the search
    night.epoch(running, 0, 0.9, 2)
    assert night.state.finished
    assert night.state.finished.budget == "search.patience_trials"


def test_worker_hours_are_summed_over_the_leases() -> None:
    night = Night("search.max_worker_hours=1")
    night.add(0)
    night.add(1)
    night.take(A, 0)
    night.take(B, 1000)
    assert night.tick(1000 + 2600 / 2 - 1) == []
    assert remaining_budget_s(night.state) == pytest.approx(1300)
    (ended,) = night.tick(1000 + 2600 / 2)
    assert isinstance(ended, BudgetEnded)
    assert ended.reason == "search.max_worker_hours (1 h)"


@pytest.mark.parametrize(("direction", "short", "reached"), [("max", 0.89, 0.9), ("min", 0.91, 0.9)])
def test_the_target_ends_the_search_in_the_epoch_that_reaches_it(direction: str, short: float, reached: float) -> None:
    night = Night("search.target=0.9")
    night.chief.state.direction = direction  # type: ignore[assignment]
    night.add(0)
    attempt = night.take(A, 0)
    assert [record.kind for record in night.epoch(attempt, 0, short, 1)] == ["reported"]
    kinds = [record.kind for record in night.epoch(attempt, 1, reached, 2)]
    assert kinds == ["reported", "budget_ended", "ended", "finished"]
    assert night.state.finished
    assert night.state.finished.reason == "ended by search.target (val_accuracy 0.9)"


def test_patience_counts_trials_with_a_score_that_is_not_better() -> None:
    night = Night("search.patience_trials=2", "retries.failure=0")
    for number, value in enumerate((0.5, 0.4, None, 0.6, 0.6, 0.1)):
        night.add(number)
        attempt = night.take(A, number)
        if value is None:
            night.keep(night.chief.give_back(attempt, Outcome.FAILED, "error", at(number)))
            continue
        night.epoch(attempt, 0, value, number)
        assert not night.state.finished
        night.keep(night.chief.complete(attempt, at(number)) + night.chief.finish(at(number)))
    assert night.state.finished
    assert night.state.finished.reason == "ended by search.patience_trials (2 trials)"
    assert len(night.state.ended) == 6


def test_an_objective_that_the_spaces_own_fit_returns_reaches_the_target() -> None:
    night = Night("search.target=0.9")
    night.add(0)
    attempt, returned = night.take(A, 0), Evidence(returned=True)
    night.keep(night.chief.report(attempt, 0, {"val_accuracy": 0.95}, "0.keras", at(1), evidence=returned))
    night.keep(night.chief.complete(attempt, at(1)) + night.chief.finish(at(1)))
    assert night.state.finished
    assert night.state.finished.budget == "search.target"
    assert not night.state.trials[T0].rungs, "it is not compared with the objectives of epochs"


def test_a_running_trial_that_improves_extends_the_patience() -> None:
    """With promotion, many trials are paused while the best one is still trained."""
    night = Night("search.early_stopping.policy=promotion", "search.patience_trials=3", "training.epochs=9")
    values = {0: 0.6, 1: 0.1, 2: 0.2}
    for number, value in values.items():
        night.add(number)
        night.epoch(night.take(A, number), 0, value, number)
    leader = night.take(B, 3)
    assert leader.trial == T0
    night.epoch(leader, 1, 0.8, 4)
    for number in (3, 4, 5):
        assert not night.state.ending
        night.add(number)
        night.epoch(night.take(A, number), 0, 0.1, number)
    assert night.state.ending, "three trials after its last improvement"


def test_a_trial_in_a_long_epoch_ends_after_the_grace_and_its_worker_is_told() -> None:
    night = Night("search.max_hours=1", "search.grace_minutes=5")
    night.add(0)
    night.add(1)
    scored, without = night.take(A, 0), night.take(B, 0)
    night.epoch(scored, 0, 0.5, 10)
    night.tick(HOUR)
    assert night.chief.beat(scored, at(HOUR + 299))
    assert night.tick(HOUR + 299) == []
    night.tick(HOUR + 300)
    assert not night.chief.beat(scored, at(HOUR + 301))
    assert not night.chief.beat(without, at(HOUR + 301))
    assert night.state.trials[T0].state is TrialState.STOPPED
    assert night.state.trials[T0].reason == (
        "ended by search.max_hours (1 h), and search.grace_minutes (5 min) passed before the end of the epoch"
    )
    assert night.state.trials[T1].state is TrialState.QUEUED, "it has no score, and continues if the budget is raised"
    assert night.state.finished


def test_a_restarted_chief_knows_which_trials_were_ended_within_an_epoch() -> None:
    night = Night("search.max_hours=1", "search.grace_minutes=5")
    night.add(0)
    night.add(1)
    cut, stopped = night.take(A, 0), night.take(B, 0)
    night.epoch(cut, 0, 0.5, 10)
    night.epoch(stopped, 0, 0.5, 10)
    night.tick(HOUR)
    night.epoch(stopped, 1, 0.5, HOUR + 10)
    night.tick(HOUR + 300)
    assert [night.state.trials[trial].state for trial in (T0, T1)] == [TrialState.STOPPED] * 2
    night.restart()
    assert not night.chief.beat(cut, at(1)), "its worker must abandon the epoch"
    assert night.chief.beat(stopped, at(1)), "the answer to its report ends it"


def test_a_preempted_trial_with_a_score_is_withdrawn_and_can_be_the_best() -> None:
    night = Night("search.max_hours=1")
    night.add(0)
    attempt = night.take(A, 0)
    night.epoch(attempt, 0, 0.5, 10)
    night.keep(night.chief.give_back(attempt, Outcome.PREEMPTED, "preempted", at(HOUR - 1)))
    assert [record.kind for record in ends(night.tick(HOUR))] == ["budget_ended", "withdrawn", "finished"]
    assert night.state.trials[T0].state is TrialState.STOPPED
    assert [(trial.trial_id, trial.score) for trial in night.state.best()] == [(T0, 0.5)]
    assert repr(state_of(night.records)) == repr(night.state)


def test_a_raised_budget_continues_the_study_and_an_equal_one_does_not() -> None:
    night = Night("search.max_hours=1")
    night.add(0)
    night.tick(HOUR)
    assert night.state.finished
    assert night.state.is_over(load(settings=night.settings))
    assert not night.state.is_over(load(settings=[*night.settings, "search.max_hours=2"]))
    night.restart("search.max_hours=2")
    assert night.state.ending is None
    night.take(A, 1)
    assert night.tick(HOUR - 1) == []
    assert night.tick(HOUR) != []


def test_minutes_of_a_trial_are_summed_over_its_attempts() -> None:
    night = Night("training.max_minutes=1")
    night.add(0)
    first = night.take(A, 0)
    night.epoch(first, 0, 0.5, 30)
    night.keep(night.chief.give_back(first, Outcome.PREEMPTED, "preempted", at(40)))
    second = night.take(B, 1000)
    assert [record.kind for record in night.epoch(second, 1, 0.6, 1019)] == ["reported"]
    _, stopped = night.epoch(second, 2, 0.7, 1020)
    assert isinstance(stopped, Ended)
    assert (stopped.state, stopped.reason) == (TrialState.STOPPED, "ended by training.max_minutes (1 min)")
    assert not night.state.ending, "the search continues"


def test_a_trial_without_an_epoch_in_its_minutes_fails_and_is_not_tried_again() -> None:
    night = Night("training.max_minutes=1", "search.grace_minutes=2")
    night.add(0)
    night.take(A, 0)
    assert night.tick(179) == []
    (failed,) = night.tick(180)
    assert isinstance(failed, Ended)
    assert (failed.state, failed.outcome) == (TrialState.FAILED, Outcome.INVALID)
    assert "training.max_minutes (1 min)" in failed.reason


def test_a_trial_that_is_interrupted_after_its_minutes_is_not_queued_again() -> None:
    night = Night("training.max_minutes=1")
    night.add(0)
    attempt = night.take(A, 0)
    night.epoch(attempt, 0, 0.5, 30)
    (stopped,) = night.chief.give_back(attempt, Outcome.PREEMPTED, "preempted", at(70))
    assert isinstance(stopped, Ended)
    assert (stopped.state, stopped.score) == (TrialState.STOPPED, 0.5)


def test_the_last_epoch_of_a_trial_completes_it() -> None:
    night = Night("search.max_hours=1", "training.epochs=2")
    night.add(0)
    attempt = night.take(A, 0)
    night.epoch(attempt, 0, 0.5, 10)
    night.tick(HOUR)
    assert [record.kind for record in night.epoch(attempt, 1, 0.6, HOUR + 1)] == ["reported"]
    (completed,) = night.chief.complete(attempt, at(HOUR + 1))
    assert isinstance(completed, Ended)
    assert completed.state is TrialState.COMPLETED


def test_a_chief_records_regularly_that_it_serves() -> None:
    """So one that is killed while nothing else happens loses little of its time."""
    chief = oracle("search.max_hours=1")
    assert chief.record_time(0, at(29)) == []
    (served,) = chief.record_time(12.5, at(30))
    assert isinstance(served, Served)
    assert (served.served_s, served.idle_s) == (30, 12.5)
    assert chief.record_time(12.5, at(31)) == []
    assert chief.state.time.idle_s == 12.5
    assert chief.state.time.served_s == 30


def test_the_remaining_time_depends_on_the_leases_if_the_budget_is_of_worker_hours() -> None:
    chief = oracle("search.max_worker_hours=1", "search.early_stopping.policy=none")
    add(chief)
    add(chief, 1)
    assert remaining_budget_s(chief.state) is None, "without a lease, no worker-hour is used"
    attempt = take(chief, A)
    chief.report(attempt, 0, {"val_accuracy": 0.5}, "0.keras", at(600.0))
    assert remaining_budget_s(chief.state) == 3000
    take(chief, B)
    assert remaining_budget_s(chief.state) == 1500
    assert remaining_hours(chief.state) == RemainingHours(inf, 3000)


def test_the_use_of_each_budget_is_shown_in_its_unit() -> None:
    settings = ("search.max_hours=1.5", "search.max_worker_hours=8", "search.target=0.95", "search.patience_trials=20")
    chief = oracle(*settings, NO_LEASE_LIMIT, "search.early_stopping.policy=none")
    assert [use.text for use in budget_uses(chief.state)][2] == "val_accuracy 0.95, no value yet"
    add(chief)
    attempt = take(chief, A)
    chief.report(attempt, 0, {"val_accuracy": 0.5}, "0.keras", at(HOUR / 2))
    chief.complete(attempt, at(HOUR / 2))
    assert [(use.budget, use.text) for use in budget_uses(chief.state)] == [
        ("search.max_hours", "0.5 of 1.5 h"),
        ("search.max_worker_hours", "0.5 of 8 h"),
        ("search.target", "val_accuracy 0.5000, the target is 0.95"),
        ("search.patience_trials", "0 of 20 trials"),
    ]
