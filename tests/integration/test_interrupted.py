"""Ctrl-C, and the same command again: a grid search loses no combination and repeats none."""

import signal
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.integration.support import Done, Place, place, settings, space
from tuner.local.children import STOP_S
from tuner.study.records import AttemptEnded, Outcome, TrialState
from tuner.study.state import StudyState

EPOCHS = 6


@dataclass
class Stopped:
    """A search stopped with one trial running and at least one ended."""

    place: Place
    stopped: Done
    took_s: float
    left: dict[int, str]
    """Processes that were still there when the command had ended."""
    between: StudyState
    resumed: Done
    """The same command."""


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory, two_colours: str) -> Iterator[Stopped]:
    with place(tmp_path_factory.mktemp("stopped")) as new_place:
        line = (
            *("run", "--data", two_colours, *space("GatedGrid")),
            *settings(search__algorithm="grid", training__epochs=EPOCHS, data__batch_size=16),
            *settings(search__early_stopping__policy="none"),
        )
        command = new_place.start(*line)
        new_place.wait_for(lambda state: state.ended, "the first trial's end", command)
        (new_place.gate / "slow").touch()

        def running_at_second(state: StudyState) -> bool:
            running = [t for t in state.trials.values() if t.state is TrialState.RUNNING]
            return any(len(trial.epochs) in range(2, EPOCHS) for trial in running)

        new_place.wait_for(running_at_second, "a trial with two epochs", command)
        began = time.monotonic()
        command.process.send_signal(signal.SIGINT)
        done = command.wait()
        took_s, left, between = time.monotonic() - began, new_place.processes(), new_place.state()
        (new_place.gate / "slow").unlink()
        yield Stopped(new_place, done, took_s, left, between, new_place.do(*line))


def test_ctrl_c_ends_it_soon_with_a_sentence(stopped: Stopped) -> None:
    assert stopped.stopped.code == 143
    assert stopped.took_s < STOP_S + STOP_S / 4
    assert stopped.stopped.err.startswith("error: the command was stopped. All finished work is saved;")
    assert stopped.stopped.err.count("\n") == 1
    assert "run the same command again to resume" in stopped.stopped.err
    assert "Traceback" not in stopped.stopped.err + stopped.stopped.out


def test_ctrl_c_leaves_no_process_behind(stopped: Stopped) -> None:
    assert stopped.left == {}


def test_a_stopped_worker_hands_its_trial_back(stopped: Stopped) -> None:
    attempt_ends = [record for record in stopped.place.records() if isinstance(record, AttemptEnded)]
    assert [record.outcome for record in attempt_ends] == [Outcome.PREEMPTED]


def test_trials_that_had_ended_stay_as_they_were(stopped: Stopped) -> None:
    ended = {trial: stopped.between.trials[trial] for trial in stopped.between.ended}
    assert ended
    after = stopped.place.state().trials
    assert {trial: after[trial] for trial in ended} == ended


def test_the_same_command_goes_on_with_the_trial_at_its_last_epoch(stopped: Stopped) -> None:
    assert stopped.resumed.code == 0, stopped.resumed.err
    assert "resumes" in stopped.resumed.output
    interrupted = next(t for t in stopped.between.trials.values() if t.state is TrialState.QUEUED)
    trial = stopped.place.state().trials[interrupted.trial_id]
    assert (trial.state, trial.attempts, len(trial.epochs)) == (TrialState.COMPLETED, 2, EPOCHS)
    assert {epoch: trial.epochs[epoch] for epoch in interrupted.epochs} == interrupted.epochs
    assert set(Counter(stopped.place.reports()).values()) == {1}


def test_every_combination_of_the_grid_is_tried_once(stopped: Stopped) -> None:
    state = stopped.place.state()
    assert sorted(trial.hyperparameters["units"] for trial in state.trials.values()) == [2, 4, 8, 16]
    assert {trial.state for trial in state.trials.values()} == {TrialState.COMPLETED}
