"""What a search looks like."""

import io
import time
from typing import Any

import pytest
from rich.console import Console

from tests.search.test_oracle import A, B, add, at, finish, oracle, take
from tuner.names import TrialId
from tuner.report.terminal.search import lines, search_view, trials_table, workers_line
from tuner.report.text import duration
from tuner.search.oracle import Oracle
from tuner.study.progress import Eta
from tuner.study.records import Outcome, Record, TrialState
from tuner.study.status import WorkerStatus
from tuner.study.views import view_study, view_trial

HOSTILE = "bad shape [batch, 10] at [/job:localhost/device:GPU:0] :bug:\nTraceback of many lines"


def rendered(what: Any, width: int = 80) -> str:
    from tuner.report.terminal.console import make_console

    console = make_console()
    console.file, console.width = io.StringIO(), width
    console.print(what)
    return console.file.getvalue()


def searched(trials: int = 20) -> Oracle:
    chief = oracle("retries.failure=0", "search.max_trials=30", "search.max_consecutive_failures=9")
    for number in range(trials):
        add(chief, number)
        attempt = take(chief, A)
        if number % 5 == 4:
            chief.give_back(attempt, Outcome.FAILED, HOSTILE, at(number))
        else:
            finish(chief, attempt, number / 100)
    add(chief, trials)
    take(chief, A)
    return chief


def worker() -> WorkerStatus:
    return WorkerStatus(worker="a", trial="00020", attempt=1, epoch=0, progress=0.5, images_per_s=1234, silent_s=0.1)


@pytest.mark.parametrize("width", [80, 132])
def test_the_live_view_fits_its_rows_and_shows_running_best_and_workers(width: int) -> None:
    text = rendered(search_view(searched().state, [worker()], 61.0, 119.7, rows=6), width)
    assert len(text.splitlines()) <= 6 + 9
    assert max(map(len, text.splitlines())) <= width
    assert "20/30" in text
    assert "left 2 min 00 s" in text
    assert "00020" in text
    assert "00018" in text
    assert "0.1800" in text
    assert "15 more" in text
    assert "a: 1,234 images/s" in text
    assert workers_line([worker()], own_data=True).plain == "a: 1,234 samples/s"


def test_the_live_view_shows_the_gpu_of_each_worker() -> None:
    on_gpu = worker().model_copy(update={"gpus": 1, "device": "GPU 1 MIG 0"})
    on_cpu = worker().model_copy(update={"worker": "b", "trial": None, "gpus": 0, "device": "CPU"})
    assert workers_line([on_gpu, on_cpu], own_data=False).plain == "a: 1,234 images/s on GPU 1 MIG 0 · b: idle on CPU"
    assert workers_line([on_cpu], own_data=False).plain == "b: idle"  # nothing to tell apart


LONG = {f"a_hyperparameter_with_a_long_name_{number}": 0.0001 + number for number in range(4)}


@pytest.mark.parametrize("width", [80, 132, 200])
@pytest.mark.parametrize("rows", [3, 6, 20])
def test_the_live_view_wraps_hyperparameters_and_shows_fewer_trials_rather_than_parts_of_them(
    width: int, rows: int
) -> None:
    chief = searched()
    for trial in chief.state.trials.values():
        trial.hyperparameters = {**LONG, "last": int(trial.trial_id)}
    text = rendered(search_view(chief.state, [worker()], 61.0, None, rows=rows), width)
    assert len(text.splitlines()) <= max(rows, 8) + 9
    assert max(map(len, text.splitlines())) <= width
    shown = [line.strip() for line in text.splitlines() if line.strip()[:3] == "000"]
    in_one = "".join(text.split())
    assert "…=" not in in_one
    assert all(f"last={int(line[:5])}" in in_one for line in shown), "the last hyperparameter is not cut off"
    assert f"{21 - len(shown)} more" in text


def test_plain_lines_tell_that_a_budget_ended_the_search() -> None:
    chief, records = oracle("search.max_hours=1", "leases.duration_s=1e6", "search.early_stopping.policy=none"), []
    for number in range(2):
        add(chief, number)
    running = take(chief, A)
    records += chief.report(running, 0, {"val_accuracy": 0.5}, "m", at(1))
    records += chief.expire(at(3600)) + chief.report(running, 1, {"val_accuracy": 0.6}, "n", at(3610))
    records += chief.finish(at(3610))
    assert list(lines(chief.state, records))[1:] == [
        "search.max_hours (1 h) has ended: no trial starts, running trials stop after their epoch",
        "trial 00000 epoch 2/10: val_accuracy 0.6000",
        "trial 00000 stopped, ended by search.max_hours (1 h); 1 trial; best so far 0.6000 (trial 00000)",
        "the search was ended by search.max_hours (1 h)",
    ]
    text = rendered(search_view(chief.state, [], 61.0, None, rows=6), 132)
    assert "  1 trials" in text
    assert "search.max_hours: 1 of 1 h" in text
    assert "00000 stopped, ended by search.max_hours (1 h)" in text


def test_a_trial_that_a_budget_interrupts_returns_to_no_queue() -> None:
    chief, records = oracle("search.max_hours=1", "leases.duration_s=1e6", "search.grace_minutes=1"), []
    for number in range(2):
        add(chief, number)
        take(chief, A if number else B)
    records += chief.expire(at(3600)) + chief.expire(at(3700))
    plain = list(lines(chief.state, records))
    assert any(line.startswith("trial 00000 is interrupted: ended by search.max_hours (1 h)") for line in plain), plain
    assert not any("returns to the queue" in line for line in plain)


def test_the_time_left_is_that_of_what_ends_the_search_first() -> None:
    def left_s(*settings: str) -> float | None:
        chief = oracle("search.early_stopping.policy=none", "leases.duration_s=1e6", *settings)
        add(chief)
        attempt = take(chief, A)
        chief.report(attempt, 0, {"val_accuracy": 0.5}, "m", at(600))
        return Eta(time.monotonic() - 600, 0).remaining_s(chief.state, [])

    assert left_s("search.max_trials=1", "training.epochs=2") == pytest.approx(600, abs=5)
    assert left_s("search.max_trials=1", "training.epochs=2", "search.max_hours=0.25") == 300
    assert left_s("search.max_trials=1", "training.epochs=2", "search.max_hours=9") == pytest.approx(600, abs=5)
    assert left_s("search.max_worker_hours=0.5") == 1200
    assert left_s("search.algorithm=hyperband", "search.max_hours=1") == 3000
    assert left_s("search.target=0.9") is None


def test_the_list_of_trials_has_all_of_them_and_the_first_line_of_why_one_failed() -> None:
    text = rendered(trials_table(searched().state), 160)
    assert all(f"{number:05d}" in text for number in range(21))
    assert "bad shape [batch, 10] at [/job:localhost/device:GPU:0] :bug:" in text
    assert "Traceback" not in text


def test_text_that_looks_like_markup_is_printed_as_it_is() -> None:
    assert rendered(HOSTILE, 200).startswith("bad shape [batch, 10] at [/job:localhost/device:GPU:0] :bug:")


def test_a_line_omits_the_number_of_epochs_if_a_trial_is_trained_longer() -> None:
    chief = oracle("training.epochs=1")
    add(chief, 0)
    attempt = take(chief, A)
    records = [
        record for epoch in range(2) for record in chief.report(attempt, epoch, {"val_accuracy": 0.5}, "m", at(1))
    ]
    assert list(lines(chief.state, records)) == [
        "trial 00000 epoch 1/1: val_accuracy 0.5000",
        "trial 00000 epoch 2: val_accuracy 0.5000",
    ]


def test_plain_lines_tell_what_happened() -> None:
    chief = oracle("retries.failure=1")
    records = []
    for number in range(2):
        add(chief, number)
    attempt = take(chief, A)
    records += chief.report(attempt, 0, {"val_accuracy": 0.5}, "m", at(1))
    records += chief.complete(attempt, at(2))
    for _ in range(2):
        records += chief.give_back(take(chief, A), Outcome.FAILED, HOSTILE, at(3))
    plain_lines = list(lines(chief.state, records))
    assert plain_lines[0] == "trial 00000 epoch 1/10: val_accuracy 0.5000"
    assert plain_lines[1].startswith("trial 00000 completed: val_accuracy 0.5000; ")
    assert plain_lines[2].startswith("trial 00001 returns to the queue: bad shape [batch, 10]")
    assert plain_lines[3].startswith("trial 00001 failed: bad shape [batch, 10]")


def stopped() -> tuple[Oracle, list[Record]]:
    """Four trials of five epochs, the last stopped at its third, where it is behind the three before it."""
    chief, records = oracle("training.epochs=5", "search.max_trials=8"), []
    for number, values in enumerate(((0.1, 0.9), (0.2, 0.9), (0.3, 0.9), (0.4, 0.8))):
        add(chief, number)
        attempt = take(chief, A)
        for epoch, value in enumerate((values[0], values[1], 0.5, 0.5, 0.5)):
            if chief.state.trials[TrialId(attempt.trial)].state is TrialState.RUNNING:
                records += chief.report(attempt, epoch, {"val_accuracy": value}, f"{attempt.trial}/{epoch}", at(epoch))
        records += chief.complete(attempt, at(5))
    return chief, records


WHY = "rung 1 (epoch 3): val_accuracy 0.8000 is not the best of 4"


def test_the_list_of_trials_shows_the_rung_reached_and_why_a_trial_was_stopped() -> None:
    rows = rendered(trials_table(stopped()[0].state), 120).splitlines()
    assert rows[1].split()[:5] == ["trial", "state", "epochs", "accuracy", "rung"]
    (row,) = [number for number, text in enumerate(rows) if "00003" in text]
    assert rows[row].split() == ["00003", "stopped", "3/5", "0.8000", "1", "units=3"]
    assert rows[row + 1].strip() == WHY


def test_the_list_of_trials_has_no_rungs_where_nothing_is_stopped_early() -> None:
    assert "rung" not in rendered(trials_table(oracle("search.early_stopping.policy=none").state), 100)


@pytest.mark.parametrize("width", [80, 132])
def test_the_live_view_says_when_and_why_the_last_trial_was_stopped(width: int) -> None:
    text = rendered(search_view(stopped()[0].state, [worker()], 61.0, None, rows=6), width)
    assert f"00003 stopped at {WHY}" in " ".join(text.split())
    assert "1 stopped" in text
    assert max(map(len, text.splitlines())) <= width


def test_a_plain_line_says_when_and_why_a_trial_was_stopped() -> None:
    chief, records = stopped()
    plain_lines = list(lines(chief.state, records))
    assert plain_lines[-1] == f"trial 00003 stopped at {WHY}; 4 of 8 trials; best so far 0.9000 (trial 00000)"


def test_the_views_say_the_rung_the_reason_and_how_many_epochs_were_saved() -> None:
    state = stopped()[0].state
    view = view_study(state)
    assert (view.stopped, view.epochs_trained, view.epochs_saved) == (1, 18, 2)
    trials = [view_trial(trial) for trial in state.trials.values()]
    assert [(trial.rung, trial.reason) for trial in trials] == [(1, "")] * 3 + [(1, WHY)]


def test_the_time_left_reckons_with_trials_that_are_stopped_early() -> None:
    eta = Eta(time.monotonic() - 18, 0)  # a second an epoch
    remaining_s = eta.remaining_s(stopped()[0].state, [])
    assert remaining_s is not None
    assert remaining_s == pytest.approx(4 * 18 / 4, abs=1)


def test_the_view_of_a_study_counts_its_trials_by_state() -> None:
    view = view_study(searched().state)
    assert (view.completed, view.failed, view.running, view.queued) == (16, 4, 1, 0)
    assert (view.best_trial, view.best_score, view.max_trials) == ("00018", 0.18, 30)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "unknown"),
        (0, "0 s"),
        (59.8, "1 min 00 s"),
        (119.7, "2 min 00 s"),
        (3599.9, "1 h 00 min"),
        (7260, "2 h 01 min"),
    ],
)
def test_durations_are_told_as_a_person_says_them(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


def test_the_live_view_is_drawn_on_a_real_terminals_width() -> None:
    written = io.StringIO()
    console = Console(file=written, width=80, height=24, force_terminal=True)
    console.print(search_view(searched().state, [worker()], 1.0, None, rows=15))
    assert len(written.getvalue().splitlines()) <= 24
