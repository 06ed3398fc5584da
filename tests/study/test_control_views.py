"""Everything that shows a study says that its search is paused, or what a user has requested."""

import time

import pytest

from tests.report.test_search_terminal import rendered
from tests.search.test_budgets import T0, T1, Night
from tests.search.test_control import request, started
from tests.search.test_oracle import at
from tuner.chief.metrics import study_metrics
from tuner.live_page.live_state import LiveState
from tuner.live_page.overview import overview, study_view
from tuner.local.run import _finished_line as finished_line
from tuner.report.terminal.search import lines, search_view
from tuner.report.terminal.study import activity_line, study_lines
from tuner.study import snapshots
from tuner.study.progress import Eta
from tuner.study.records import Action, Controlled
from tuner.study.status import EvaluationState, SearchState
from tuner.study.views import local_time, view_study

RESUME = "cifake-tune resume"


def paused() -> Night:
    night, _ = started()
    request(night, Action.PAUSE, seconds=20)
    return night


def test_status_says_since_when_the_search_is_paused_and_how_to_continue() -> None:
    night = paused()
    view = view_study(night.state, at(25).at)
    assert view.paused_since == at(20).at
    assert activity_line(view) == (
        f"paused since {local_time(at(20).at)} (last record 5 s ago, 1 trial leased to workers). "
        "Continue it with cifake-tune resume."
    )
    request(night, Action.RESUME)
    assert view_study(night.state).paused_since is None


def test_status_of_a_paused_search_without_a_chief_names_both_commands() -> None:
    line = activity_line(view_study(paused().state, at(10_000_000).at))
    assert line.startswith("not running")
    assert "Start it again with the same command to continue. It is paused since " in line
    assert RESUME in line


def test_the_live_page_and_what_is_read_from_it_say_that_the_search_is_paused() -> None:
    night = paused()
    page = overview(LiveState(at(25).at, night.state, EvaluationState.WAITING, None), "gs://b")
    assert (page.search, page.paused_since, page.ended) == (SearchState.PAUSED, at(20).at, None)
    view = study_view(page)
    assert (view.state, view.paused_since, view.gave_up) == ("unfinished", at(20).at, False)


def test_the_metric_of_the_search_has_a_state_for_a_pause() -> None:
    night = paused()
    assert states(night) == {"paused"}
    request(night, Action.RESUME)
    assert states(night) == {"running"}


def states(night: Night) -> set[str]:
    metric = next(metric for metric in study_metrics(night.state) if metric.name == "cifake_tune_search")
    return {sample.labels["state"] for sample in metric.samples if sample.value}


def test_run_prints_a_line_for_each_request_that_was_not_refused() -> None:
    night = paused()
    refused = Controlled(at=0, request="9", action=Action.PAUSE, refusal="no")
    enqueued = Controlled(at=0, request="8", action=Action.ENQUEUE, hyperparameters={"units": 7})
    request(night, Action.RESUME)
    request(night, Action.STOP, T0)
    request(night, Action.STOP)
    records = [record for record in night.records if isinstance(record, Controlled)]
    assert list(lines(night.state, [*records, refused, enqueued])) == [
        "the search is paused: no trial starts, running trials are handed back after their epoch",
        "the search continues after its pause",
        "trial 00000 was stopped by a user; it ends after its epoch",
        "the search ends by cifake-tune stop; running trials stop after their epoch",
        "cifake-tune enqueue: the next trial is units=7",
    ]
    both = Controlled(at=0, request="7", action=Action.STOP, trials=(T0, T1))
    assert list(lines(night.state, [both])) == ["trials 00000, 00001 were stopped by a user; each ends after its epoch"]


def test_run_says_that_a_user_has_ended_the_search_that_it_does_not_continue() -> None:
    night, first = started()
    request(night, Action.STOP)
    night.epoch(first, 1, 0.6, 30)
    assert finished_line(night.state) == (
        "The search of study cifake has finished (ended by cifake-tune stop): 1 trial. For more trials, use --set "
        "search.max_trials=N or another name."
    )


def test_the_live_view_of_run_says_that_the_search_is_paused() -> None:
    assert "search paused" in rendered(search_view(paused().state, [], 60, None, 10), 100)
    assert "search paused" not in rendered(search_view(started()[0].state, [], 60, None, 10), 100)


def test_status_and_run_say_that_a_user_stops_the_search() -> None:
    night, _ = started()
    request(night, Action.STOP)
    sentence = "ended by cifake-tune stop; running trials stop after their epoch"
    assert dict(study_lines(view_study(night.state)))["ending"] == sentence
    assert sentence in rendered(search_view(night.state, [], 60, None, 10), 100)


def test_the_remaining_time_is_unknown_during_a_pause_and_leaves_it_out_afterwards() -> None:
    night, first = started("search.max_trials=1", "training.epochs=5", trials=1)
    eta = Eta(time.monotonic() - 1000, 0.0)
    request(night, Action.PAUSE, seconds=20)
    assert eta.remaining_s(night.state, []) is None
    night.epoch(first, 1, 0.6, 30)
    request(night, Action.RESUME, seconds=920)
    assert eta.remaining_s(night.state, []) == pytest.approx(150, abs=30)  # 50 s an epoch


def test_a_snapshot_keeps_the_pause_the_queue_and_the_handled_requests() -> None:
    night = paused()
    enqueued = Controlled(at=0, request="8", action=Action.ENQUEUE, hyperparameters={"units": 7})
    night.keep(night.chief.control(enqueued, at(30)))
    request(night, Action.STOP, T0)
    kept = snapshots.decode("studies/cifake/snapshots/0000000001.json", snapshots.encode(1, night.state))
    assert kept is not None
    assert kept.state == night.state
    assert kept.state.control.enqueued == ({"units": 7},)
    assert kept.state.time.is_paused
