"""Syne Tune in virtual time: its multi-fidelity schedulers, called as its Tuner calls them.

A trial whose worker was lost has failed, because Syne Tune does not try a trial again.
"""

import datetime
import logging
from typing import Any

from syne_tune.backend.trial_status import Trial
from syne_tune.config_space import choice, finrange, ordinal
from syne_tune.optimizer.baselines import ASHA, ASHACQR, BOHB
from syne_tune.optimizer.scheduler import SchedulerDecision

from bench.simulation.contender import Job
from bench.simulation.grid import Dimension, Scale
from bench.simulation.table import Table

logging.getLogger("syne_tune").setLevel(logging.ERROR)

OBJECTIVE, EPOCHS = "val_accuracy", "epoch"
CREATED = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


class SyneTune:
    """A search with one of Syne Tune's schedulers."""

    def __init__(self, scheduler_class: Any, table: Table, seed: int) -> None:
        self._grid = table.grid
        self._epochs = table.epochs
        self._count = 0
        self._scheduler = scheduler_class(
            {dimension.name: _domain(dimension) for dimension in table.grid.dimensions},
            metric=OBJECTIVE,
            time_attr=EPOCHS,
            max_t=table.epochs,
            do_minimize=False,
            random_seed=seed,
        )

    def ask(self, worker: int, now: float) -> Job | None:
        """Start the suggested trial."""
        suggestion = self._scheduler.suggest()
        if suggestion is None:
            return None
        trial = Trial(self._count, suggestion.config, CREATED)
        self._count += 1
        self._scheduler.on_trial_add(trial)
        return Job(trial, self._grid.number(suggestion.config), self._epochs)

    def report(self, job: Job, epoch: int, value: float, now: float) -> bool:
        """Pass the result to the scheduler. The last result is passed by `completed`."""
        if epoch + 1 == job.epochs:
            self._last = value
            return True
        decision = self._scheduler.on_trial_result(job.trial, {OBJECTIVE: value, EPOCHS: epoch + 1})
        if decision == SchedulerDecision.CONTINUE:
            return True
        self._scheduler.on_trial_remove(job.trial)
        return False

    def completed(self, job: Job, now: float) -> None:
        """Complete the trial with its last result."""
        self._scheduler.on_trial_complete(job.trial, {OBJECTIVE: self._last, EPOCHS: job.epochs})

    def preempted(self, job: Job, epochs: int, now: float) -> None:
        """Fail the trial."""
        self._scheduler.on_trial_error(job.trial)


def _domain(dimension: Dimension) -> Any:
    """Return the hyperparameter's domain. Values with equal ratios are ordered by kind "nn-log"."""
    values = dimension.values
    match dimension.scale:
        case Scale.CATEGORY:
            return choice(list(values))
        case Scale.LINEAR:
            whole = all(isinstance(value, int) for value in values)
            return finrange(float(values[0]), float(values[-1]), len(values), cast_int=whole)
        case Scale.LOG:
            return ordinal(list(values), kind="nn-log")
        case _:
            return ordinal(list(values), kind="nn")


def asha(table: Table, workers: int, seed: int) -> SyneTune:
    """Return random search with ASHA."""
    return SyneTune(ASHA, table, seed)


def cqr(table: Table, workers: int, seed: int) -> SyneTune:
    """Return conformal quantile regression with ASHA."""
    return SyneTune(ASHACQR, table, seed)


def bohb(table: Table, workers: int, seed: int) -> SyneTune:
    """Return kernel density estimates with ASHA."""
    return SyneTune(BOHB, table, seed)
