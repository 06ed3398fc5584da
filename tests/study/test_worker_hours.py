"""The hours of workers by outcome, whose sum is the time of the leases, and what they cost."""

import pytest

from tests.chaos.evidence import Segment
from tests.chaos.findings import Findings, Rule
from tests.chaos.hours_rules import check_hours
from tests.search.test_budgets import Night
from tests.search.test_oracle import A, B, at
from tuner.config.loading import load
from tuner.config.settings import Cost
from tuner.live_page.live_state import LiveState
from tuner.live_page.overview import Overview, overview, study_view
from tuner.report.terminal.study import study_lines
from tuner.study.records import Outcome
from tuner.study.state import StudyState
from tuner.study.status import EvaluationState
from tuner.study.views import view_study
from tuner.study.worker_hours import WorkOutcome, money, worker_time


def a_night(*settings: str) -> Night:
    """Return a search with time of every outcome, in two terms."""
    night = Night("retries.failure=0", "search.max_trials=9", *settings)
    for number in range(4):
        night.add(number)
    useful, failed = night.take(A, 0), night.take(B, 0)
    night.epoch(failed, 0, 0.5, 50)
    night.keep(night.chief.give_back(failed, Outcome.FAILED, "error", at(60)))
    night.epoch(useful, 0, 0.5, 100)
    night.keep(night.chief.give_back(useful, Outcome.PREEMPTED, "preempted", at(130)))
    again = night.take(A, 200)
    night.epoch(again, 1, 0.6, 300)
    night.keep(night.chief.complete(again, at(310)))
    night.keep(night.chief.record_time(90.0, at(311)))
    night.restart()
    stopped = night.take(A, 10)
    night.epoch(stopped, 0, 0.1, 30)
    night.tick(40)
    return night


EXPECTED = {
    WorkOutcome.USEFUL: 100 + 110 + 20 + 10,
    WorkOutcome.REPEATED: 30,
    WorkOutcome.STOPPED: 0,
    WorkOutcome.FAILED: 60,
    WorkOutcome.IDLE: 90,
}


def test_time_is_counted_by_what_became_of_it() -> None:
    night = a_night()
    night.keep(night.chief.record_time(0, at(40)))
    assert worker_time(night.state).seconds == EXPECTED


def test_a_stopped_trial_takes_its_time_along() -> None:
    night = a_night("search.patience_trials=1")
    assert night.state.ending is None
    running = next(trial for trial in night.state.trials.values() if trial.worker == A.name and not trial.ended)
    assert running.work.counted_s(night.state.time.served_s) == pytest.approx(20)


def test_the_outcomes_add_up_to_the_leases() -> None:
    night = a_night()
    findings = Findings()
    check_hours(tuple(Segment(n, "w", (record,)) for n, record in enumerate(night.records, 1)), findings)
    assert findings.violations == []
    assert findings.looked[Rule.HOURS] == len(night.records) - 2 + 1
    night.keep(night.chief.record_time(0, at(40)))
    assert worker_time(night.state).leased_s == pytest.approx(night.state.time.leased_s) == 100 + 60 + 30 + 110 + 30


def test_an_epoch_that_an_older_checkpoint_repeats_is_repeated_time() -> None:
    night = Night()
    night.add(0)
    first = night.take(A, 0)
    night.epoch(first, 0, 0.5, 10)
    night.epoch(first, 1, 0.5, 30)
    night.keep(night.chief.give_back(first, Outcome.PREEMPTED, "preempted", at(30)))
    second = night.take(B, 30)
    night.epoch(second, 1, 0.6, 55)  # its newest checkpoint was damaged
    seconds = worker_time(night.state).seconds
    assert (seconds[WorkOutcome.USEFUL], seconds[WorkOutcome.REPEATED]) == (35, 20)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ((), "0.1167 h (0.0667 useful, 0.0083 repeated, 0.0167 failed, 0.0250 idle)"),
        (("cost.per_worker_hour=30",), "0.1167 h, $3.50 (0.0667 useful, 0.0083 repeated, 0.0167 failed, 0.0250 idle)"),
    ],
)
def test_status_shows_the_hours_and_with_a_price_their_cost(settings: tuple[str, ...], text: str) -> None:
    night = a_night(*settings)
    night.keep(night.chief.record_time(0, at(40)))
    assert dict(study_lines(view_study(night.state)))["worker-hours"] == text
    work = view_study(night.state).work
    assert work
    assert work.cost == (3.5 if settings else None)


def test_the_currency_is_a_sign_or_a_code() -> None:
    assert money(1234.5, Cost(currency="€")) == "€1,234.50"
    assert money(0.125, Cost(currency="CHF")) == "CHF 0.12"


def test_studies_of_earlier_versions_have_no_hours_rather_than_none_used() -> None:
    night = a_night()
    state = StudyState()
    for record in night.records:
        state.apply(record.model_copy(update={"served_s": None, "idle_s": None}))
    assert view_study(state).work is None
    assert "worker-hours" not in dict(study_lines(view_study(state)))


def test_budgets_and_hours_of_a_release_are_those_of_its_chiefs_page() -> None:
    night = a_night("search.max_hours=2", "search.target=0.9", "cost.per_worker_hour=1")
    live = LiveState(at=1, state=night.state, evaluation=EvaluationState.WAITING, result=None)
    answer = Overview.model_validate_json(overview(live, "bucket").model_dump_json())
    shown, own = study_view(answer), view_study(night.state)
    assert [budget.budget for budget in own.budgets] == ["search.max_hours", "search.target"]
    assert (shown.budgets, shown.work, shown.ending) == (own.budgets, own.work, own.ending)


def test_a_chief_of_an_earlier_version_says_nothing_of_budgets() -> None:
    live = LiveState(at=1, state=a_night().state, evaluation=EvaluationState.WAITING, result=None)
    answer = overview(live, "bucket").model_dump(mode="json")
    for key in ("budgets", "ending", "work"):
        del answer[key]
    assert study_view(Overview.model_validate(answer)).budgets == []


def test_status_shows_budgets_and_that_one_has_ended() -> None:
    night = a_night("search.max_hours=0.1", "search.grace_minutes=60")
    facts = dict(study_lines(view_study(night.state)))
    assert facts["budget"] == "search.max_hours: 0.0947 of 0.1 h"
    assert "ending" not in facts
    night.tick(60)
    facts = dict(study_lines(view_study(night.state)))
    assert facts["ending"] == "ended by search.max_hours (0.1 h); running trials stop after their epoch"
    assert facts["trials"].startswith("2 of 9 ended")


def test_trials_without_a_maximum_are_counted_of_an_unknown_number() -> None:
    night = Night("search.max_hours=1")
    assert dict(study_lines(view_study(night.state)))["trials"].startswith("0 ended")
    assert load(settings=["search.max_hours=1"]).search.max_trials is None
