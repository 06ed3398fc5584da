"""Everything that shows a study knows paused trials: tables, lines, logs, pages, files and the remaining time."""

import json
import time
from pathlib import Path

import pytest

from tests.report.test_search_terminal import rendered
from tests.search.played_search import Search, promoting
from tests.search.test_early_stopping import epochs
from tests.search.test_oracle import A, B, add, at, take
from tests.search.test_promotion import paused_at_first_rung, resumed
from tuner import names
from tuner.bucket.local import LocalBucket
from tuner.live_page.live_state import LiveState
from tuner.live_page.overview import overview, study_view
from tuner.report.rungs import rungs_of
from tuner.report.terminal.search import lines, search_view, trials_table
from tuner.report.terminal.study import study_lines
from tuner.search.oracle import Oracle
from tuner.study.attempts import attempts_of
from tuner.study.progress import Eta
from tuner.study.records import Ended, ModelsDeleted, Paused, TrialState
from tuner.study.status import EvaluationState
from tuner.study.tensorboard import EventFiles
from tuner.study.views import view_study, view_trial

WHY = "rung 0 (epoch 1): val_accuracy 0.5000 is not the best of 3"


def paused() -> Oracle:
    """Three trials at the first rung, the second of which is promoted; the first and the third are paused."""
    chief = promoting()
    paused_at_first_rung(chief, 0.4, 0.7)
    add(chief, 2)
    epochs(chief, take(chief, A), 0.5)
    resumed(chief, B, 0.6)
    return chief


def live(chief: Oracle) -> LiveState:
    return LiveState(time.time(), chief.state, EvaluationState.WAITING, None)


def test_the_list_of_trials_shows_a_paused_trial_with_its_score_its_rung_and_why() -> None:
    rows = rendered(trials_table(paused().state), 120).splitlines()
    (row,) = [number for number, text in enumerate(rows) if "00002" in text]
    assert rows[row].split() == ["00002", "paused", "1/27", "0.5000", "0", "units=2"]
    assert rows[row + 1].strip() == WHY
    view = view_trial(paused().state.trials[names.TrialId("00002")])
    assert (view.state, view.score, view.rung, view.reason, view.ended) == (TrialState.PAUSED, 0.5, 0, WHY, None)


def test_a_promoted_trial_is_shown_with_its_newest_objective_and_no_reason() -> None:
    rows = rendered(trials_table(paused().state), 120).splitlines()
    (row,) = [text for text in rows if "00001" in text]
    assert row.split()[1] == "running"
    assert "0.6000" in row
    assert view_trial(paused().state.trials[names.TrialId("00001")]).reason == ""


def test_status_and_the_live_view_count_paused_trials() -> None:
    view = view_study(paused().state)
    assert (view.paused, view.running, view.stopped) == (2, 1, 0)
    assert dict(study_lines(view))["trials"] == "0 of 100 ended: 1 running, 2 paused"
    assert "2 paused" in rendered(search_view(paused().state, [], 61.0, None, rows=6), 100)


def test_plain_lines_say_when_a_trial_is_paused_and_not_that_it_stopped_at_the_end() -> None:
    search = Search(promoting(epochs=10, trials=9), trials=9)
    state = search.play()
    texts = list(lines(state, search.records))
    pauses = [record for record in search.records if isinstance(record, Paused)]
    assert [text for text in texts if " paused at " in text] == [
        f"trial {record.trial} paused at {record.reason}" for record in pauses
    ]
    assert not any("stopped at" in text for text in texts)
    assert texts[-1] == "the search has ended: all trials have ended"


def test_the_live_page_shows_paused_trials_and_from_which_value_they_continue() -> None:
    page = overview(live(paused()), "bucket")
    assert page.counts[TrialState.PAUSED] == 2
    assert page.promotes
    (first,) = page.rungs
    assert (first.reached, first.paused, first.stopped, first.cut, first.all_continue) == (3, 2, 0, 0.7, False)
    few = promoting()
    paused_at_first_rung(few, 0.4)
    (first,) = overview(live(few), "bucket").rungs
    assert (first.cut, first.all_continue) == (None, False), "none is promoted yet"
    assert study_view(page).paused == 2
    assert json.loads(page.model_dump_json())["counts"]["PAUSED"] == 2


def test_the_report_shows_the_rungs_of_a_search_with_promotion() -> None:
    state = Search(promoting(epochs=10, trials=9), trials=9).play()
    first, *_ = rungs_of(state)
    assert (first.epochs, first.reached) == (1, 9)
    assert first.stopped >= 5


def test_only_paused_trials_lose_their_models_and_all_of_a_record_or_none() -> None:
    chief = paused()
    first, running, third = map(names.TrialId, ("00000", "00001", "00002"))
    with pytest.raises(ValueError, match="trial 00001 is RUNNING, and only paused trials lose their models"):
        chief.state.apply(ModelsDeleted(at=1, trials=(first, running)))
    assert chief.state.trials[first].checkpoints
    chief.state.apply(ModelsDeleted(at=1, trials=(first, third)))
    assert [bool(trial.checkpoints) for trial in chief.state.trials.values()] == [False, True, False]
    assert chief.state.trials[first].score == 0.4


def test_an_attempt_ends_with_the_pause_and_not_with_the_search() -> None:
    search = Search(promoting(epochs=10, trials=9), trials=9)
    search.play()
    pauses = {(record.trial, record.attempt): record.at for record in search.records if isinstance(record, Paused)}
    for attempt in attempts_of(search.records).attempts:
        if (at_ := pauses.get((attempt.trial, attempt.attempt))) is not None:
            assert (attempt.how, attempt.ended) == ("paused", at_)
    assert {attempt.how for attempt in attempts_of(search.records).attempts} == {"paused", "completed"}


def test_tensorboard_gets_a_file_of_a_paused_trial_and_another_when_it_is_paused_again(tmp_path: Path) -> None:
    bucket, chief = LocalBucket(tmp_path), promoting(trials=3)
    files = EventFiles(bucket, chief.state)
    sizes: list[int] = []

    def draw() -> None:
        if files.ended():
            files.write()
        sizes.append(len(bucket.read(names.tensorboard_events("cifake", names.TrialId("00001")))))

    paused_at_first_rung(chief, 0.4, 0.7)
    draw()
    assert not files.ended()
    add(chief, 2)
    epochs(chief, take(chief, A), 0.5)
    promoted = resumed(chief, B, 0.6, 0.6)
    assert chief.state.trials[names.TrialId(promoted.trial)].state is TrialState.RUNNING, "there is nothing else to do"
    epochs(chief, promoted, *[0.6] * 24, first=3)
    chief.complete(promoted, at(99))
    draw()
    assert sizes[1] > sizes[0]


def test_the_remaining_time_counts_the_epochs_that_promotion_trains() -> None:
    chief = promoting(trials=27)  # 27 trials for 1 epoch, 9 for 2 more, 3 for 6 more, 1 for 18 more: 81 epochs
    paused_at_first_rung(chief, 0.4, 0.3)
    left_s = Eta(began=time.monotonic() - 10, done=0.0).remaining_s(chief.state, [])
    assert left_s is not None
    assert abs(left_s - 79 * 5) < 2
    more = promoting("search.finalists=3", trials=27)
    paused_at_first_rung(more, 0.4, 0.3)
    with_finalists_s = Eta(began=time.monotonic() - 10, done=0.0).remaining_s(more.state, [])
    assert with_finalists_s is not None
    assert abs(with_finalists_s - (79 + 2 * 18) * 5) < 2


def test_the_end_of_a_search_leaves_no_trial_paused_in_any_count() -> None:
    search = Search(promoting(epochs=10, trials=9), trials=9)
    view = view_study(search.play())
    assert (view.paused, view.running, view.queued) == (0, 0, 0)
    assert view.completed + view.stopped == 9
    assert len({record.trial for record in search.records if isinstance(record, Ended)}) == 9
