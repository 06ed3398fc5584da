"""Bare Keras Tuner in virtual time: its oracles, called as its workers call them.

As in Keras Tuner's own training, a trial's score is reported once, after its last epoch, and is that of its best epoch.
A worker that was lost asks again under its old id, and trains its trial from the first epoch, or Hyperband's first one.
"""

import contextlib
import os
import tempfile
from dataclasses import dataclass, field

import keras_tuner
from keras_tuner.engine.trial import TrialStatus

from bench.simulation.contender import Job
from bench.simulation.contenders.keras_space import keras_space
from bench.simulation.table import Table

OBJECTIVE = "val_accuracy"


@dataclass
class _Trained:
    """A trial and its objective after each epoch that its worker has trained."""

    trial: keras_tuner.engine.trial.Trial
    values: list[float] = field(default_factory=list)


class BareKerasTuner:
    """A search with one of Keras Tuner's oracles."""

    def __init__(self, table: Table, oracle: keras_tuner.Oracle) -> None:
        self._grid = table.grid
        self._epochs = table.epochs
        self._oracle = oracle
        self._folder = tempfile.TemporaryDirectory(prefix="cifake-tune-bench-")
        oracle.verbose = 0
        oracle.hyperparameters = keras_space(table.grid)
        oracle._set_project_dir(self._folder.name, "search")
        oracle.save = lambda: None  # what it writes affects no decision, and takes most of the time
        oracle._save_trial = lambda trial: None

    def ask(self, worker: int, now: float) -> Job | None:
        """Create a trial for the worker. None if Keras Tuner answers IDLE or STOPPED."""
        with open(os.devnull, "w") as silence, contextlib.redirect_stdout(silence):
            trial = self._oracle.create_trial(f"worker-{worker}")
        if trial.status != TrialStatus.RUNNING:
            return None
        values = trial.hyperparameters.values
        return Job(
            _Trained(trial),
            self._grid.number(values),
            epochs=values.get("tuner/epochs", self._epochs),
            first_epoch=values.get("tuner/initial_epoch", 0),
        )

    def report(self, job: Job, epoch: int, value: float, now: float) -> bool:
        """Keep the objective; the oracle is not informed of single epochs."""
        job.trial.values.append(value)
        return True

    def completed(self, job: Job, now: float) -> None:
        """Report the best epoch's objective, and end the trial."""
        trial = job.trial.trial
        self._oracle.update_trial(trial.trial_id, {OBJECTIVE: max(job.trial.values)})
        trial.status = TrialStatus.COMPLETED
        self._oracle.end_trial(trial)

    def preempted(self, job: Job, epochs: int, now: float) -> None:
        """Do nothing: the chief does not notice it."""


def random(table: Table, workers: int, seed: int) -> BareKerasTuner:
    """Return Keras Tuner's random search."""
    oracle = keras_tuner.oracles.RandomSearchOracle(_objective(), max_trials=len(table.grid), seed=seed)
    return BareKerasTuner(table, oracle)


def bayesian(table: Table, workers: int, seed: int) -> BareKerasTuner:
    """Return Keras Tuner's Gaussian process, with its own number of initial points."""
    oracle = keras_tuner.oracles.BayesianOptimizationOracle(_objective(), max_trials=len(table.grid), seed=seed)
    return BareKerasTuner(table, oracle)


def hyperband(table: Table, workers: int, seed: int) -> BareKerasTuner:
    """Return Keras Tuner's Hyperband, repeated until the budget ends."""
    oracle = keras_tuner.oracles.HyperbandOracle(
        _objective(), max_epochs=table.epochs, hyperband_iterations=1000, seed=seed
    )
    return BareKerasTuner(table, oracle)


def _objective() -> keras_tuner.Objective:
    return keras_tuner.Objective(OBJECTIVE, "max")
