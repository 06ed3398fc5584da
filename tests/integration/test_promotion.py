"""A search of real processes that pauses trials: a trial is paused by one worker, and continued by another."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.integration.support import Command, Place, place, settings, space
from tests.support.gcs_emulator import free_port
from tuner import names
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
def place_with_data(folder: Path, data: str) -> Iterator[Place]:
    address = {names.ENV_ORACLE_IP: "127.0.0.1", names.ENV_ORACLE_PORT: str(free_port())}
    with place(folder, **address) as new_place:
        new_place.environment[names.ENV_DATA] = pack(data, new_place.bucket).digest
        yield new_place


def start_worker(where: Place, name: str) -> Command:
    return where.start("worker", **{names.ENV_TUNER_ID: name})


def undisturbed(where: Place) -> StudyState:
    """Train every trial to its end without a pause."""
    commands = where.start("chief", *STUDY, *settings(search__early_stopping__policy="none")), start_worker(where, "a")
    for command in commands:
        done = command.wait()
        assert done.code == 0, done.err
    return where.state()


def paused_and_continued(where: Place) -> StudyState:
    """Let one worker train two trials to the first rung, and another one do everything else."""

    def two_are_paused(state: StudyState) -> bool:
        return sum(trial.state is TrialState.PAUSED for trial in state.trials.values()) == 2

    chief = where.start("chief", *STUDY, *settings(search__early_stopping__policy="promotion"))
    (where.gate / "slow").touch()
    first = start_worker(where, "first")
    where.wait_for(two_are_paused, "two trials that are paused", first)
    first.process.send_signal(signal.SIGTERM)
    assert first.wait().code == 143
    (where.gate / "slow").unlink()
    second = start_worker(where, "second")
    for command in (second, chief):
        done = command.wait()
        assert done.code == 0, done.err
    return where.state()


def test_a_trial_paused_by_one_worker_continues_bit_for_bit_with_another(tmp_path: Path, two_colours: str) -> None:
    with place_with_data(tmp_path / "undisturbed", two_colours) as whole:
        expected = undisturbed(whole)
    with place_with_data(tmp_path / "paused", two_colours) as where:
        state, records = paused_and_continued(where), where.records()
        logs = where.logs()
    paused = {(record.trial, record.attempt) for record in records if isinstance(record, Paused)}
    workers = {(record.trial, record.attempt): record.worker for record in records if isinstance(record, Leased)}
    moved = [
        trial
        for trial, attempt in paused
        if workers[trial, attempt] == "first" and workers[trial, attempt + 1] == "second"
    ]
    assert len(moved) == 2
    assert "resumes from epoch 2" in logs
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
