"""Budgets of hours include the trainings with which search.confirm repeats the best trials of a search."""

import pytest

from tests.search.played_search import Search, promoting
from tests.search.test_budgets import HOUR, NO_LEASE_LIMIT
from tests.search.test_confirmation import TRIALS, ConfirmedNight
from tests.search.test_oracle import B, at
from tests.support.records import state_of
from tuner.config.loading import load
from tuner.names import TrialId
from tuner.search.leases import Worker
from tuner.study.records import BudgetEnded, Outcome, TrialState


@pytest.mark.parametrize("budget", ["max_hours", "max_worker_hours"])
@pytest.mark.parametrize("policy", ["none", "stopping", "promotion"])
@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("seed", range(2))
def test_the_search_itself_ends_in_time_for_the_repetitions(budget: str, policy: str, workers: int, seed: int) -> None:
    # with steps of one second, a worker trains an epoch in as many seconds as there are workers
    served_s = 400 * workers
    seconds = served_s * (workers if budget == "max_worker_hours" else 1)
    chief = promoting(
        "search.max_trials=null", NO_LEASE_LIMIT, f"search.{budget}={seconds / HOUR}", "search.confirm.seeds=3",
        "search.confirm.best=2", f"search.early_stopping.policy={policy}", epochs=9,
    )  # fmt: skip
    search = Search(chief, 10**6, workers, seed)
    state = search.play()
    assert [len(candidate.scores) for candidate in state.confirmation] == [3, 3]
    used = state.time.served_s if budget == "max_hours" else state.time.leased_s
    assert used <= seconds
    assert used >= 0.8 * seconds, "the search does not end too early"
    ended, *_ = (record for record in search.records if isinstance(record, BudgetEnded))
    assert ended.reserved
    assert ended.reason.startswith(f"search.{budget} ({seconds / HOUR:g} h, of which 0.")
    assert ended.reason.endswith(" h are reserved for search.confirm)")
    assert state.finished
    assert state.finished.budget == f"search.{budget}"


def test_when_the_hours_really_end_running_repetitions_stop_and_only_complete_ones_count() -> None:
    night = ConfirmedNight("search.max_hours=1", scores=())
    for number, score in enumerate(TRIALS[:3]):
        night.add(number)
        night.train(score, score, epoch_s=60)
    # 12 epochs of a minute, one more for each training, and one in which running trials finish
    night.seconds = HOUR - 19 * 60
    records = night.tick(night.seconds)
    assert [record.kind for record in records] == ["budget_ended", *["created"] * 6]
    assert night.state.ending
    assert night.state.ending.reason == "search.max_hours (1 h, of which 0.32 h are reserved for search.confirm)"
    slow = 150.0
    for score in (0.7, 0.6):  # 10 of 19 minutes
        night.train(score, score, epoch_s=slow)
    third, fourth = night.next(), night.next(B)
    night.epoch(third, 0, 0.99, night.seconds + slow)
    night.tick(HOUR)
    *_, really = (record for record in night.records if isinstance(record, BudgetEnded))
    assert (really.reserved, really.reason) == (False, "search.max_hours (1 h)")
    assert night.chief.grant(Worker("c", "1"), at(HOUR))[0] is None
    night.epoch(fourth, 0, 0.99, HOUR + 10)
    night.keep(night.chief.give_back(third, Outcome.PREEMPTED, "preempted", at(HOUR + 20)))
    night.keep(night.chief.finish(at(HOUR + 20)))
    assert night.state.finished
    assert night.state.finished.budget == "search.max_hours"
    counts = {c.original.trial_id: c.scores for c in night.state.confirmation}
    assert counts == {"00001": (0.7,), "00002": (0.6,), "00000": ()}
    assert night.state.confirmation[0].original.trial_id == "00001"
    assert repr(state_of(night.records)) == repr(night.state)


def test_numbers_of_repetitions_are_balanced_when_the_hours_end_in_between() -> None:
    night = ConfirmedNight("search.max_hours=1", "search.confirm.seeds=5")
    night.exhaust()
    for _ in range(8):
        night.train(0.5)
    assert night.tick(HOUR) != []
    assert sorted(len(candidate.scores) for candidate in night.state.confirmation) == [2, 3, 3]


def test_at_most_half_of_the_hours_are_reserved() -> None:
    night = ConfirmedNight("search.max_hours=1", "search.confirm.seeds=100", scores=())
    night.add(0)
    night.train(0.5, 0.5, epoch_s=60)
    assert night.tick(HOUR / 2 - 1) == []
    assert night.tick(HOUR / 2) != []
    assert night.state.ending
    assert night.state.ending.reserved


def test_a_raised_budget_continues_and_replaces_repetitions_that_it_had_stopped() -> None:
    night = ConfirmedNight("search.max_hours=1", "training.epochs=3")
    night.exhaust()
    night.train(0.6)
    attempt = night.next()
    night.tick(HOUR)
    night.epoch(attempt, 0, 0.9, HOUR + 1)
    assert night.state.trials[TrialId(attempt.trial)].state is TrialState.STOPPED
    assert night.state.finished
    assert not night.state.is_over(load(settings=[*night.settings, "search.max_hours=2"]))
    night.restart("search.max_hours=2")
    night.seconds = 0
    for _ in range(4):
        night.train(0.7)
    night.exhaust()
    assert len(night.state.repetitions) == 7
    assert night.state.trials[night.state.repetitions[-1]].repeats == "00003"
    night.train(0.7)
    assert night.state.finished
    assert sorted(len(candidate.scores) for candidate in night.state.confirmation) == [2, 2, 2]


def test_repetitions_of_a_search_that_all_its_trials_ended_do_not_end_it_by_the_hours_that_are_reserved() -> None:
    night = ConfirmedNight("search.max_hours=1", "search.max_trials=2", scores=())
    for number in range(2):
        night.add(number)
        night.train(0.5, 0.5, epoch_s=250)
    night.exhaust()
    for _ in range(2):
        night.train(0.7, 0.7, epoch_s=250)
    assert night.tick(night.seconds) == [], "1600 s remain, of which 1750 s would be reserved for two repetitions"
    for _ in range(2):
        night.train(0.7, 0.7, epoch_s=250)
    assert night.state.finished
    assert night.state.finished.budget == ""
