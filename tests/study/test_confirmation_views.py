"""Everything that shows a study knows which trials repeat others (search.confirm), and names the same winner."""

import time
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from tests.report.test_search_terminal import rendered
from tests.search.test_confirmation import TRIALS, ConfirmedNight
from tests.support.tensorboard import running_tensorboard
from tuner import names
from tuner.bucket.local import LocalBucket
from tuner.chief.metrics import study_metrics
from tuner.live_page.live_state import LiveState
from tuner.live_page.overview import overview
from tuner.live_page.trial_rows import TrialQuery, trial_page
from tuner.monitoring.catalogue import Readings
from tuner.monitoring.metric_names import Metric
from tuner.report.terminal.search import lines, search_view, trials_table
from tuner.report.terminal.study import study_lines
from tuner.study import snapshots
from tuner.study.progress import Eta, end_of_search
from tuner.study.status import EvaluationState
from tuner.study.tensorboard import SCORE, EventFiles
from tuner.study.views import view_study, view_trial

SCORES = (0.6, 0.75, 0.7, 0.6, 0.77, 0.74)
"""Of the repetitions of 00001, 00003 and 00002 in turn, so that 00003 wins with its own 0.8 as the best model."""
WON = "6 of 6 repetitions have ended; trial 00003 has the best mean, 0.7600 ± 0.0141 (2)"


def confirmed(*settings: str, repetitions: int = 6) -> ConfirmedNight:
    """Return a search of five trials of which some repetitions have ended."""
    night = ConfirmedNight("search.max_trials=5", *settings)
    night.exhaust()
    for score in SCORES[:repetitions]:
        night.train(score)
    return night


def live(night: ConfirmedNight) -> LiveState:
    return LiveState(at=0.0, state=night.state, evaluation=EvaluationState.WAITING, result=None)


def test_status_says_how_many_repetitions_have_ended_and_which_trial_is_ahead() -> None:
    view = view_study(confirmed().state)
    assert (view.repetitions, view.confirmation, view.best_trial) == (6, WON, "00003")
    facts = dict(study_lines(view))
    assert facts["confirmation"] == WON
    assert facts["trials"] == "11 of 11 ended: 11 completed"
    assert view_study(confirmed(repetitions=0).state).confirmation == "0 of 6 repetitions have ended"
    assert view_study(ConfirmedNight().state).confirmation == ""


def test_the_list_of_trials_names_what_each_one_repeats() -> None:
    state = confirmed().state
    text = rendered(trials_table(state), 160)
    assert text.count("(repeats 00001)") == text.count("(repeats 00003)") == 2
    assert [view_trial(trial).repeats for trial in state.trials.values()] == [
        *[None] * 5, *["00001", "00003", "00002"] * 2,
    ]  # fmt: skip


def test_the_live_view_and_its_lines_show_repetitions() -> None:
    night = confirmed(repetitions=4)
    assert "9/11 trials" in rendered(search_view(night.state, [], 1, None, 20), 132)
    assert "4/6 repetitions" in rendered(search_view(night.state, [], 1, None, 20), 132)
    night.next()
    assert list(lines(night.state, night.records[-1:])) == [
        "trial 00009 starts on a: repeats trial 00003 with another seed"
    ]


def test_while_trials_are_repeated_no_trial_is_about_to_stop() -> None:
    night = ConfirmedNight("search.target=0.9", scores=(0.8, 0.9))
    assert night.state.ending
    assert view_study(night.state).ending == ""
    assert "has ended" not in rendered(search_view(night.state, [], 1, None, 20), 132)


def test_the_live_page_shows_the_winner_and_what_its_rows_repeat() -> None:
    night = confirmed()
    page = overview(live(night), "bucket")
    assert page.best
    assert (page.best.trial, page.repetitions, page.confirmation) == ("00003", 6, WON)
    assert {dot.trial for dot in page.dots} == {f"{number:05d}" for number in range(5)}
    rows = {row.trial: row for row in trial_page(night.state, TrialQuery()).rows}
    assert (rows["00006"].repeats, rows["00003"].repeats) == ("00003", None)
    assert [trial for trial, row in rows.items() if row.best] == ["00003"]


def test_planned_trials_include_repetitions_and_the_best_score_is_that_of_the_winner() -> None:
    night, registry = confirmed(), CollectorRegistry()
    registry.register(Readings(lambda: study_metrics(night.state)))
    assert registry.get_sample_value(Metric.TRIALS_PLANNED) == 11
    assert registry.get_sample_value(Metric.BEST_SCORE) == 0.8


def test_the_end_of_the_search_is_not_called_early_because_a_repetition_won() -> None:
    assert end_of_search(confirmed().state) == "all trials have ended"


def test_the_remaining_time_includes_the_repetitions() -> None:
    def left_s(night: ConfirmedNight) -> float | None:
        trained = sum(len(trial.epochs) for trial in night.state.trials.values())
        return Eta(time.monotonic() - 10 * trained, 0).remaining_s(night.state, [])  # ten seconds an epoch

    before = ConfirmedNight("search.max_trials=5", "search.early_stopping.policy=none", scores=(0.5,) * 4)
    assert left_s(before) == pytest.approx(10 * (1 * 2 + 6 * 2), abs=1), "of one trial, and of six repetitions"
    assert left_s(confirmed(repetitions=4)) == pytest.approx(10 * 2 * 2, abs=1)


def test_a_snapshot_has_all_that_decides() -> None:
    state = confirmed().state
    kept = snapshots.decode(names.snapshot("s", 1), snapshots.encode(1, state))
    assert kept
    assert kept.state == state
    copied = snapshots.frozen_copy(state)
    state.repetitions.append(names.TrialId("00099"))
    assert len(copied.repetitions) == 6


@pytest.mark.slow
def test_tensorboard_shows_the_repetitions_of_a_trial_as_one_row_with_the_mean_that_decides(tmp_path: Path) -> None:
    night, bucket = confirmed(), LocalBucket(tmp_path)
    files = EventFiles(bucket, night.state)
    assert files.ended()
    files.write()
    with running_tensorboard(tmp_path / names.tensorboard_prefix("cifake")) as board:
        board.wait_for(lambda board: len(board.trials()) == 8)
        rows = {row["name"]: row for row in board.trials()}
    scores = {
        name: value["value"] for name, row in rows.items() for value in row["metricValues"]
        if value["name"]["tag"] == SCORE
    }  # fmt: skip
    means = {"00003 repeated": 0.76, "00002 repeated": 0.72, "00001 repeated": 0.6}
    assert scores == pytest.approx(means | {f"{number:05d}": score for number, score in enumerate(TRIALS)})
