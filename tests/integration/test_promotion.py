"""Searches that pause trials: a trial is paused by one worker, and continued by another in another process."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import keras_tuner

from tests.integration.in_process import do_here
from tests.integration.support import Done, Place, place, settings, space
from tests.support.chief import running_chief
from tuner import names
from tuner.config.loading import load
from tuner.data.pack import pack
from tuner.study.records import Leased, Paused, TrialState
from tuner.study.state import StudyState

TRIALS, EPOCHS = 3, 3
STUDY = (
    *space("GatedNoise"),
    *settings(search__max_trials=TRIALS, training__epochs=EPOCHS, data__batch_size=16),
    *settings(search__finalists=TRIALS),
)


@contextmanager
def searching(folder: Path, data: str, policy: str) -> Iterator[Place]:
    """Yield a place with a chief in this process, on the backend that this process has."""
    study = load(settings=[*STUDY[1::2], f"search.early_stopping.policy={policy}"])
    hyperparameters = keras_tuner.HyperParameters()
    hyperparameters.Float("learning_rate", 1e-3, 1e-1, sampling="log")
    with place(folder, backend="tensorflow") as where:
        digest = pack(data, where.bucket).digest
        with running_chief(where.bucket, study, hyperparameters, digest) as chief:
            address = {names.ENV_ORACLE_IP: "127.0.0.1", names.ENV_ORACLE_PORT: str(chief.port)}
            where.environment.update(address)
            yield where


def work_here(where: Place, name: str) -> Done:
    """Train to the end of the search in this process."""
    done = do_here(where, "worker", **{names.ENV_TUNER_ID: name})
    assert done.code == 0, done.err
    return done


def pause_two(where: Place) -> None:
    """Let a worker in a process of its own train two trials to the first rung, and end it."""

    def two_are_paused(state: StudyState) -> bool:
        return sum(trial.state is TrialState.PAUSED for trial in state.trials.values()) == 2

    (where.gate / "outlast").touch()  # a trial is not paused if its next rung is closer than a restart
    worker = where.start("worker", **{names.ENV_TUNER_ID: "first"})
    where.wait_for(two_are_paused, "two trials that are paused", worker)
    worker.process.send_signal(signal.SIGTERM)
    assert worker.wait().code == 143


def test_a_trial_paused_by_one_worker_continues_bit_for_bit_with_another(tmp_path: Path, two_colours: str) -> None:
    with searching(tmp_path / "undisturbed", two_colours, "none") as whole:
        work_here(whole, "a")
        expected = whole.state()
    with searching(tmp_path / "paused", two_colours, "promotion") as where:
        pause_two(where)
        done = work_here(where, "second")
        state, records = where.state(), where.records()
    paused = {(record.trial, record.attempt) for record in records if isinstance(record, Paused)}
    workers = {(record.trial, record.attempt): record.worker for record in records if isinstance(record, Leased)}
    moved = [
        trial
        for trial, attempt in paused
        if workers[trial, attempt] == "first" and workers[trial, attempt + 1] == "second"
    ]
    assert len(moved) == 2
    assert "resumes from epoch 2" in done.out + done.err
    for trial_id, trial in state.trials.items():
        assert trial.state is TrialState.COMPLETED
        assert trial.epochs == expected.trials[trial_id].epochs
        assert trial.hyperparameters == expected.trials[trial_id].hyperparameters
    for trial_id in moved:
        trial = state.trials[trial_id]
        assert not trial.outcomes, "a pause costs no retry"
        assert trial.start_s is not None, "the worker measured what a restart costs"
        reported = [record.epoch for record in records if record.kind == "reported" and record.trial == trial_id]
        assert reported == list(range(EPOCHS)), "no epoch was trained again"
    assert state.finished is not None
    assert not state.finished.failed
