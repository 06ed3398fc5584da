"""A real search that a budget ends is evaluated, and a larger budget continues it."""

import json
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.integration.in_process import do_here
from tests.integration.support import Done, Place, place, settings, space
from tuner import names
from tuner.study.records import TrialState
from tuner.study.state import StudyState

pytestmark = pytest.mark.slow


@dataclass
class Limited:
    """The same study, started with three budgets, each larger than the one before."""

    place: Place
    too_short: Done
    """It ends before any worker has joined."""
    ended: Done
    between: StudyState
    again: Done
    raised: Done
    larger: float
    """The budget of `raised`."""


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory, two_colours: str) -> Iterator[Limited]:
    with place(tmp_path_factory.mktemp("limited")) as new_place:
        line = (
            *("run", "--data", two_colours, *space("Tiny")),
            *settings(training__epochs=500, data__batch_size=16, evaluation__robustness_images=0),
            *settings(search__early_stopping__policy="none", cost__per_worker_hour=3600),
        )
        too_short = new_place.do(*line, *settings(search__max_hours=1e-7))
        hours = settings(search__max_worker_hours=1e-4)
        ended = new_place.do(*line, *hours)
        between = new_place.state()
        again = do_here(new_place, *line, *hours)  # it starts no process
        larger = round(between.time.leased_s / 3600 + 0.0003, 5)  # the first epoch alone may take minutes
        raised = new_place.do(*line, *settings(search__max_worker_hours=larger))
        yield Limited(new_place, too_short, ended, between, again, raised, larger)


def test_a_search_that_ends_before_any_score_names_the_budget(limited: Limited) -> None:
    assert limited.too_short.code == 4
    assert "was ended by search.max_hours (1e-07 h) before any trial had" in limited.too_short.error
    assert "Raise search.max_hours" in limited.too_short.error


def test_the_stopped_trial_is_evaluated_with_exit_code_0(limited: Limited) -> None:
    assert limited.ended.code == 0, limited.ended.err
    assert "the search was ended by search.max_worker_hours (0.0001 h)" in limited.ended.output
    (trial,) = limited.between.trials.values()
    assert trial.state is TrialState.STOPPED
    assert trial.reason == "ended by search.max_worker_hours (0.0001 h)"
    assert 1 <= len(trial.epochs) < 500
    metrics = json.loads(limited.place.bucket.read(names.evaluation(limited.place.study, names.METRICS_JSON)))
    assert metrics["best_trial"] in limited.place.state().trials


def test_the_same_command_has_nothing_to_do_and_a_larger_budget_continues(limited: Limited) -> None:
    assert limited.again.code == limited.raised.code == 0, limited.raised.err
    assert "was ended by search.max_worker_hours (0.0001 h): 1 trial." in limited.again.output
    assert "--set search.max_worker_hours=N" in limited.again.output
    after = limited.place.state()
    assert len(after.trials) > 1
    (first,) = limited.between.trials
    assert after.trials[first].epochs == limited.between.trials[first].epochs
    assert after.time.leased_s >= 3600 * limited.larger


def test_the_report_and_status_name_the_end_and_the_cost(limited: Limited) -> None:
    status = json.loads(do_here(limited.place, "status", "--json").out)
    (best,) = limited.place.state().best()
    end = f"before the best trial {best.trial_id} was complete ({len(best.epochs)} of 500 epochs)"
    assert status["reason"] == f"ended by search.max_worker_hours ({limited.larger:g} h), {end}"
    assert status["max_trials"] is None
    (budget,) = status["budgets"]
    assert budget["budget"] == "search.max_worker_hours"
    assert budget["used"] >= budget["limit"] == limited.larger
    leased_s = sum(seconds for outcome, seconds in status["work"]["seconds"].items() if outcome != "idle")
    assert leased_s == pytest.approx(limited.place.state().time.leased_s, abs=0.5)
    assert status["work"]["cost"] == pytest.approx(sum(status["work"]["seconds"].values()), abs=0.5)
    page = limited.place.bucket.read(names.evaluation(limited.place.study, names.REPORT_HTML)).decode()
    # the first trial may still be the best one, whose evaluation is not repeated
    assert "The search was ended by search.max_worker_hours (" in page
