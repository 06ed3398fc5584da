"""Searches of real processes that stop trials early; and one whose chief is killed meanwhile."""

import json
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.integration.spaces.user_spaces import GOOD_RATES
from tests.integration.support import Done, Place, place, settings, space
from tuner import names
from tuner.study.records import TrialState
from tuner.study.state import StudyState, Trial

EPOCHS = 9
TRIALS = 11
"""A third of them, rounded down, learns: a place more beyond a rung would go to hopeless trials that tie for it."""


# ---- a search that is mostly hopeless -------------------------------------------------------------
@dataclass
class Sample:
    """Three learning rates that learn and eight that do not, on the built-in sample, by two workers."""

    place: Place
    done: Done

    def trials(self, good: bool) -> list[Trial]:
        trials = self.place.state().trials.values()
        return [trial for trial in trials if (trial.hyperparameters["learning_rate"] in GOOD_RATES) == good]


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sample]:
    with place(tmp_path_factory.mktemp("sample")) as new_place:
        done = new_place.do(
            *("run", "--workers", "2", *space("Rates")),
            *settings(search__algorithm="grid", search__max_trials=TRIALS, training__epochs=EPOCHS),
            *settings(data__batch_size=64),
        )
        yield Sample(new_place, done)


def test_hopeless_trials_are_stopped_after_their_first_epoch(sample: Sample) -> None:
    assert sample.done.code == 0, sample.done.err
    hopeless = sample.trials(good=False)
    assert len(hopeless) == TRIALS - len(GOOD_RATES)
    assert {(trial.state, len(trial.epochs)) for trial in hopeless} == {(TrialState.STOPPED, 1)}
    assert all(trial.reason.startswith("rung 0 (epoch 1): val_accuracy ") for trial in hopeless)


def test_the_best_trial_is_trained_to_its_end_and_evaluated(sample: Sample) -> None:
    best = sample.place.state().best()[0]
    assert best in sample.trials(good=True)
    assert (best.state, len(best.epochs)) == (TrialState.COMPLETED, EPOCHS)
    metrics = json.loads(sample.place.bucket.read(names.evaluation(sample.place.study, names.METRICS_JSON)))
    assert metrics["best_trial"] == best.trial_id
    assert metrics["accuracy"] > 0.8  # by chance: a half


def test_far_fewer_epochs_are_trained_than_without_and_status_says_how_many(sample: Sample) -> None:
    trained = len(sample.place.reports())
    assert trained <= len(GOOD_RATES) * EPOCHS + TRIALS - len(GOOD_RATES) < 0.4 * TRIALS * EPOCHS
    status = json.loads(sample.place.do("status", "--json").out)
    assert (status["epochs_trained"], status["epochs_saved"]) == (trained, TRIALS * EPOCHS - trained)
    assert status["stopped"] >= TRIALS - len(GOOD_RATES)


def test_trials_and_the_lines_of_run_say_why(sample: Sample) -> None:
    trials = json.loads(sample.place.do("trials", "--json").out)
    stopped = [trial for trial in trials if trial["state"] == "STOPPED"]
    table = sample.place.do("trials").output
    for trial in stopped:
        assert f"trial {trial['trial_id']} stopped at {trial['reason']}; " in sample.done.output
        assert trial["reason"] in table
    assert {trial["rung"] for trial in trials if trial["state"] == "COMPLETED"} == {2}


def test_both_workers_take_part_and_know_what_stopped_them(sample: Sample) -> None:
    stopped = [trial for trial in sample.place.state().trials.values() if trial.state is TrialState.STOPPED]
    logs = Path(sample.place.cache / "logs" / sample.place.study)
    for name in {trial.worker for trial in stopped}:
        assert "stopped early" in (logs / f"{name}.log").read_text()
    assert {trial.worker for trial in sample.place.state().trials.values()} == {"worker-0", "worker-1"}
    assert {trial.attempts for trial in sample.place.state().trials.values()} == {1}


# ---- the chief killed -----------------------------------------------------------------------------
def story(state: StudyState) -> list[tuple[object, ...]]:
    return [(trial.hyperparameters, trial.state, trial.epochs, trial.reason) for trial in state.trials.values()]


def test_a_chief_killed_in_the_midst_makes_the_same_search(
    tmp_path_factory: pytest.TempPathFactory, two_colours: str
) -> None:
    stories = []
    for kill in (False, True):
        with place(tmp_path_factory.mktemp("chief")) as new_place:
            if kill:
                (new_place.gate / "slow").touch()  # it is killed while a trial is trained
            command = new_place.start(
                *("run", "--data", two_colours, *space("GatedLine")),  # one worker: the order of results is fixed
                *settings(search__algorithm="bayesian", search__max_trials=6, training__epochs=4),
                *settings(data__batch_size=32),
            )
            if kill:
                new_place.wait_for(lambda state: len(state.ended) >= 4, "four trials' end", command)
                new_place.kill(signal.SIGKILL, "chief")
                (new_place.gate / "slow").unlink()
            done = command.wait()
            assert done.code == 0, done.err
            state = new_place.state()
            assert state.term == 1 + kill
            stories.append(story(state))
    assert stories[0] == stories[1]
    assert {state for _, state, *_ in stories[0]} == {TrialState.COMPLETED, TrialState.STOPPED}
