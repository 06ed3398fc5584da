"""Workers and chief killed in the middle of a search: nothing is lost, nothing is done twice."""

import os
import signal
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.integration.support import Done, Place, place, settings, space
from tuner.study.records import Ended, Leased, TrialState
from tuner.study.state import StudyState, Trial

TRIALS = 6
EPOCHS = 4


@dataclass
class Night:
    """A search of two workers, both held in a trial's third epoch while one was killed, and then the chief."""

    place: Place
    done: Done
    killed: Trial
    """The killed worker's trial, as it was before."""
    other: Trial
    """The other worker's."""
    survivors: set[int]
    """The workers that were there when the chief was killed."""
    afterwards: set[int]
    """The workers that were there when the next chief had opened its term."""


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory, two_colours: str) -> Iterator[Night]:
    with place(tmp_path_factory.mktemp("night")) as new_place:
        hold = new_place.gate / "hold-2"
        hold.touch()
        command = new_place.start(
            *("run", "--data", two_colours, "--workers", "2", *space("GatedLine")),
            *settings(search__algorithm="bayesian", search__max_trials=TRIALS, training__epochs=EPOCHS),
            *settings(data__batch_size=16, search__early_stopping__policy="none"),
        )

        def both_held(state: StudyState) -> list[Trial]:
            held_trials = [trial for trial in state.trials.values() if max(trial.epochs, default=0) == 1]
            return held_trials if len(held_trials) == 2 else []

        trials = {t.worker: t for t in new_place.wait_for(both_held, "two trials in their third epoch", command)}
        victim = next(pid for pid in new_place.processes("worker") if worker_name(pid) == "worker-0")
        os.kill(victim, signal.SIGKILL)
        new_place.wait_for(
            lambda state: state.trials[trials["worker-0"].trial_id].attempts == 2, "the second attempt", command
        )
        survivors = set(new_place.processes("worker"))
        new_place.kill(signal.SIGKILL, "chief")
        new_place.wait_for(lambda state: state.term == 2, "the second chief", command)
        afterwards = set(new_place.processes("worker"))
        hold.unlink()
        yield Night(new_place, command.wait(), trials["worker-0"], trials["worker-1"], survivors, afterwards)


def worker_name(process: int) -> str:
    with open(f"/proc/{process}/environ", "rb") as file:
        variables = dict(pair.partition(b"=")[::2] for pair in file.read().split(b"\0"))
    return variables[b"KERASTUNER_TUNER_ID"].decode()


def test_the_search_ends_with_an_evaluation_and_every_trial_completed_once(night: Night) -> None:
    assert night.done.code == 0, night.done.err
    ended = Counter(record.trial for record in night.place.records() if isinstance(record, Ended))
    assert len(ended) == TRIALS
    assert set(ended.values()) == {1}
    assert {trial.state for trial in night.place.state().trials.values()} == {TrialState.COMPLETED}


def test_a_killed_workers_trial_goes_on_at_its_last_epoch_as_the_next_attempt(night: Night) -> None:
    trial = night.place.state().trials[night.killed.trial_id]
    assert trial.attempts == 2
    assert {epoch: trial.epochs[epoch] for epoch in (0, 1)} == night.killed.epochs
    assert {name.split("/")[-2] for epoch, name in trial.checkpoints.items() if epoch < 2} == {"1"}
    assert {name.split("/")[-2] for epoch, name in trial.checkpoints.items() if epoch >= 2} == {"2"}


def test_workers_go_on_with_their_trials_while_the_chief_is_replaced(night: Night) -> None:
    assert night.place.state().term == 2
    assert night.survivors == night.afterwards
    assert len(night.survivors) == 2
    assert night.place.state().trials[night.other.trial_id].attempts == 1


def test_no_epoch_is_trained_twice(night: Night) -> None:
    assert sorted(night.place.reports()) == [(f"{trial:05d}", epoch) for trial in range(TRIALS) for epoch in range(4)]


def test_only_the_killed_workers_trial_was_leased_twice(night: Night) -> None:
    leases = Counter(record.trial for record in night.place.records() if isinstance(record, Leased))
    assert {trial: count for trial, count in leases.items() if count > 1} == {night.killed.trial_id: 2}


def test_bayesian_search_reaches_its_gaussian_process_and_repeats_no_suggestion(night: Night) -> None:
    rates = [trial.hyperparameters["learning_rate"] for trial in night.place.state().trials.values()]
    assert len(set(rates)) == TRIALS > 3  # of one hyperparameter, three are random
    assert all(1e-3 <= float(rate) <= 1e-1 for rate in rates)
