"""Optuna in virtual time: a study in memory, by `ask`, `report`, `should_prune` and `tell`.

A lost worker's trial is tried again from its first epoch, as with Optuna's RetryFailedTrialCallback.
"""

import optuna

from bench.simulation.contender import Job
from bench.simulation.grid import Dimension, Grid, Scale, Value
from bench.simulation.table import Table

optuna.logging.set_verbosity(optuna.logging.ERROR)


class OptunaSearch:
    """A study with Optuna's default TPESampler and a pruner."""

    def __init__(self, table: Table, seed: int, pruner: optuna.pruners.BasePruner) -> None:
        self._grid: Grid = table.grid
        self._epochs = table.epochs
        sampler = optuna.samplers.TPESampler(seed=seed)
        self._study = optuna.create_study(direction="maximize", sampler=sampler, pruner=pruner)

    def ask(self, worker: int, now: float) -> Job | None:
        """Ask for a trial."""
        trial = self._study.ask()
        configuration = {dimension.name: _suggested(trial, dimension) for dimension in self._grid.dimensions}
        return Job(trial, self._grid.number(configuration), self._epochs)

    def report(self, job: Job, epoch: int, value: float, now: float) -> bool:
        """Report an epoch, and prune the trial if the pruner decides so."""
        trial: optuna.Trial = job.trial
        trial.report(value, epoch + 1)  # pruners count from 1
        if epoch + 1 < job.epochs and trial.should_prune():
            self._study.tell(trial, state=optuna.trial.TrialState.PRUNED)
            return False
        return True

    def completed(self, job: Job, now: float) -> None:
        """Tell the best objective."""
        trial: optuna.Trial = job.trial
        values = self._study.trials[trial.number].intermediate_values.values()
        self._study.tell(trial, max(values))

    def preempted(self, job: Job, epochs: int, now: float) -> None:
        """Fail the trial, and queue another one with the same hyperparameters."""
        trial: optuna.Trial = job.trial
        self._study.tell(trial, state=optuna.trial.TrialState.FAIL)
        self._study.enqueue_trial(trial.params)


def _suggested(trial: optuna.Trial, dimension: Dimension) -> Value:
    """Return a value. Numbers without equal differences are suggested by their position, which keeps their order."""
    values = dimension.values
    if dimension.scale is Scale.CATEGORY:
        chosen: Value = trial.suggest_categorical(dimension.name, values)
        return chosen
    return values[trial.suggest_int(dimension.name, 0, len(values) - 1)]


def halving(table: Table, workers: int, seed: int) -> OptunaSearch:
    """Return TPE with asynchronous successive halving, from the first epoch on."""
    return OptunaSearch(table, seed, optuna.pruners.SuccessiveHalvingPruner(min_resource=1))


def hyperband(table: Table, workers: int, seed: int) -> OptunaSearch:
    """Return TPE with Hyperband."""
    return OptunaSearch(table, seed, optuna.pruners.HyperbandPruner(min_resource=1, max_resource=table.epochs))


def median(table: Table, workers: int, seed: int) -> OptunaSearch:
    """Return TPE with the median rule, Optuna's default pruner."""
    return OptunaSearch(table, seed, optuna.pruners.MedianPruner())
