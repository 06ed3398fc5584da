"""Searches of real processes that stop trials early: one is ended by Ctrl-C and resumed, another's chief is killed."""

import json
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import keras_tuner
import pytest

from tests.integration.in_process import do_here
from tests.integration.spaces.user_spaces import GOOD_RATES, RATES
from tests.integration.support import Command, Done, Place, place, settings, space
from tests.support.chief import running_chief
from tests.support.gcs_emulator import free_port
from tuner import names
from tuner.config.loading import load
from tuner.data.pack import pack
from tuner.local.children import STOP_S
from tuner.study.records import AttemptEnded, Outcome, TrialState
from tuner.study.state import StudyState
from tuner.study.trial import Trial

EPOCHS = 9
TRIALS = len(RATES)
"""A third of them, rounded down, learns: a place more beyond a rung would go to hopeless trials that tie for it."""


# ---- a search that is mostly hopeless, and stopped with a good trial running ----------------------------------------
@dataclass
class Hopeless:
    """Two learning rates that learn and five that do not, stopped with one trial running and at least one ended."""

    place: Place
    stopped: Done
    took_s: float
    left: dict[int, str]
    """Processes that were still there when the command had ended."""
    between: StudyState
    resumed: Done
    """The same command, with a second worker."""

    def trials(self, good: bool) -> list[Trial]:
        trials = self.place.state().trials.values()
        return [trial for trial in trials if (trial.hyperparameters["learning_rate"] in GOOD_RATES) == good]


@pytest.fixture(scope="module")
def hopeless(tmp_path_factory: pytest.TempPathFactory, two_colours: str) -> Iterator[Hopeless]:
    with place(tmp_path_factory.mktemp("hopeless")) as new_place:
        line = (
            *("run", "--data", two_colours, *space("Rates")),
            *settings(search__algorithm="grid", training__epochs=EPOCHS, data__batch_size=16),
            *settings(evaluation__robustness_images=0),
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
        yield Hopeless(new_place, done, took_s, left, between, new_place.do(*line, "--workers", "2"))


def test_ctrl_c_ends_it_soon_with_a_sentence(hopeless: Hopeless) -> None:
    assert hopeless.stopped.code == 143
    assert hopeless.took_s < STOP_S + STOP_S / 4
    assert hopeless.stopped.error.startswith("The command was stopped. All finished work is saved;")
    assert hopeless.stopped.error.count("\n") == 1
    assert "run the same command again to resume" in hopeless.stopped.err
    assert "Traceback" not in hopeless.stopped.err + hopeless.stopped.out


def test_ctrl_c_leaves_no_process_behind(hopeless: Hopeless) -> None:
    assert hopeless.left == {}


def test_a_stopped_worker_hands_its_trial_back(hopeless: Hopeless) -> None:
    attempt_ends = [record for record in hopeless.place.records() if isinstance(record, AttemptEnded)]
    assert [record.outcome for record in attempt_ends] == [Outcome.PREEMPTED]


def test_trials_that_had_ended_stay_as_they_were(hopeless: Hopeless) -> None:
    ended = {trial: hopeless.between.trials[trial] for trial in hopeless.between.ended}
    assert ended
    after = hopeless.place.state().trials
    assert {trial: after[trial] for trial in ended} == ended


def test_the_same_command_goes_on_with_the_trial_at_its_last_epoch(hopeless: Hopeless) -> None:
    assert hopeless.resumed.code == 0, hopeless.resumed.err
    assert "resumes" in hopeless.resumed.output
    interrupted = next(t for t in hopeless.between.trials.values() if t.state is TrialState.QUEUED)
    assert len(interrupted.epochs) >= 2
    trial = hopeless.place.state().trials[interrupted.trial_id]
    assert (trial.state, trial.attempts, len(trial.epochs)) == (TrialState.COMPLETED, 2, EPOCHS)
    assert {epoch: trial.epochs[epoch] for epoch in interrupted.epochs} == interrupted.epochs
    assert set(Counter(hopeless.place.reports()).values()) == {1}


def test_every_combination_of_the_grid_is_tried_once(hopeless: Hopeless) -> None:
    state = hopeless.place.state()
    assert sorted(trial.hyperparameters["learning_rate"] for trial in state.trials.values()) == sorted(RATES)
    assert {trial.state for trial in state.trials.values()} == {TrialState.COMPLETED, TrialState.STOPPED}


def test_hopeless_trials_are_stopped_after_their_first_epoch(hopeless: Hopeless) -> None:
    without_hope = hopeless.trials(good=False)
    assert len(without_hope) == TRIALS - len(GOOD_RATES)
    assert {(trial.state, len(trial.epochs)) for trial in without_hope} == {(TrialState.STOPPED, 1)}
    assert all(trial.reason.startswith("rung 0 (epoch 1): val_accuracy ") for trial in without_hope)


def test_the_best_trial_is_trained_to_its_end_and_evaluated(hopeless: Hopeless) -> None:
    best = hopeless.place.state().best()[0]
    assert best in hopeless.trials(good=True)
    assert (best.state, len(best.epochs)) == (TrialState.COMPLETED, EPOCHS)
    metrics = json.loads(hopeless.place.bucket.read(names.evaluation(hopeless.place.study, names.METRICS_JSON)))
    assert metrics["best_trial"] == best.trial_id
    assert metrics["accuracy"] > 0.8  # by chance: a half


def test_far_fewer_epochs_are_trained_than_without_and_status_says_how_many(hopeless: Hopeless) -> None:
    trained = len(hopeless.place.reports())
    assert trained <= len(GOOD_RATES) * EPOCHS + TRIALS - len(GOOD_RATES) < 0.4 * TRIALS * EPOCHS
    status = json.loads(do_here(hopeless.place, "status", "--json").out)
    assert (status["epochs_trained"], status["epochs_saved"]) == (trained, TRIALS * EPOCHS - trained)
    assert status["stopped"] >= TRIALS - len(GOOD_RATES)


def test_trials_and_the_lines_of_run_say_why(hopeless: Hopeless) -> None:
    trials = json.loads(do_here(hopeless.place, "trials", "--json").out)
    stopped = [trial for trial in trials if trial["state"] == "STOPPED"]
    table = do_here(hopeless.place, "trials").output
    for trial in stopped:
        assert f"trial {trial['trial_id']} stopped at {trial['reason']}; " in hopeless.resumed.output
        assert trial["reason"] in table
    assert {trial["rung"] for trial in trials if trial["state"] == "COMPLETED"} == {2}


def test_both_workers_take_part_and_know_what_stopped_them(hopeless: Hopeless) -> None:
    trials = hopeless.place.state().trials
    stopped = [trial for trial in trials.values() if trial.state is TrialState.STOPPED]
    logs = Path(hopeless.place.cache / "logs" / hopeless.place.study)
    for name in {trial.worker for trial in stopped}:
        assert "stopped early" in (logs / f"{name}.log").read_text()
    assert {trial.worker for trial in trials.values()} == {"worker-0", "worker-1"}
    assert {trial.attempts for trial in hopeless.trials(good=False)} == {1}
    assert sorted(trial.attempts for trial in hopeless.trials(good=True)) == [1, 2]


# ---- the chief killed -----------------------------------------------------------------------------------------------
STUDY = settings(search__algorithm="bayesian", search__max_trials=5, training__epochs=4, data__batch_size=32)


@contextmanager
def place_of_one_worker(folder: Path, data: str) -> Iterator[Place]:
    """Yield a place with the data and a chief's address: one worker, so that the order of results is fixed."""
    address = {names.ENV_ORACLE_IP: "127.0.0.1", names.ENV_ORACLE_PORT: str(free_port())}
    with place(folder, **address, **{names.ENV_TUNER_ID: "worker-0"}) as new_place:
        new_place.environment[names.ENV_DATA] = pack(data, new_place.bucket).digest
        yield new_place


def story(state: StudyState) -> list[tuple[object, ...]]:
    return [(trial.hyperparameters, trial.state, trial.epochs, trial.reason) for trial in state.trials.values()]


def undisturbed(place: Place) -> list[tuple[object, ...]]:
    """Search with a chief in this process."""
    study = load(settings=[*STUDY[1::2], *space("GatedLine")[1::2]])
    hyperparameters = keras_tuner.HyperParameters()
    hyperparameters.Float("learning_rate", 1e-3, 1e-1, sampling="log")
    with running_chief(place.bucket, study, hyperparameters, place.environment[names.ENV_DATA]) as chief:
        done = place.do("worker", **{names.ENV_ORACLE_PORT: str(chief.port)})
    assert done.code == 0, done.err
    assert place.state().term == 1
    return story(place.state())


def disturbed(place: Place) -> list[tuple[object, ...]]:
    """Search with a chief that is killed while a trial is trained, and another one."""

    def start_chief() -> Command:
        return place.start("chief", *space("GatedLine"), *STUDY)

    (place.gate / "slow").touch()
    chief, worker = start_chief(), place.start("worker")
    place.wait_for(lambda state: len(state.ended) >= 3, "three trials' end", worker)
    chief.process.kill()
    chief.wait()
    (place.gate / "slow").unlink()
    chief = start_chief()
    for command in (worker, chief):
        done = command.wait()
        assert done.code == 0, done.err
    assert place.state().term == 2
    return story(place.state())


def test_a_chief_killed_in_the_midst_makes_the_same_search(
    tmp_path_factory: pytest.TempPathFactory, two_colours: str
) -> None:
    stories = []
    for search in (undisturbed, disturbed):
        with place_of_one_worker(tmp_path_factory.mktemp("chief"), two_colours) as new_place:
            stories.append(search(new_place))
    assert stories[0] == stories[1]
    assert {state for _, state, *_ in stories[0]} == {TrialState.COMPLETED, TrialState.STOPPED}
