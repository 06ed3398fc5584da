"""Ray Tune in virtual time: its ASHA scheduler, called with each result as Ray's controller calls it.

Random search is Ray Tune's default. A lost worker's trial is resumed from its newest checkpoint, as with
`FailureConfig(max_failures=-1)`.
"""

import os
import random
from collections import deque
from dataclasses import dataclass, replace

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

from ray.tune.schedulers import AsyncHyperBandScheduler, TrialScheduler

from bench.simulation.contender import Job
from bench.simulation.table import Table

OBJECTIVE, EPOCHS = "val_accuracy", "training_iteration"


@dataclass(frozen=True)
class _Trial:
    """What the scheduler uses of a trial."""

    trial_id: str


class RayTune:
    """Random search with Ray Tune's ASHA."""

    def __init__(self, table: Table, workers: int, seed: int) -> None:
        self._grid = table.grid
        self._epochs = table.epochs
        self._random = random.Random(seed)
        self._scheduler = AsyncHyperBandScheduler(EPOCHS, OBJECTIVE, "max", max_t=table.epochs)
        self._count = 0
        self._lost: deque[Job] = deque()

    def ask(self, worker: int, now: float) -> Job | None:
        """Resume a lost trial, or start a new one with random hyperparameters."""
        if self._lost:
            return self._lost.popleft()
        trial = _Trial(str(self._count))
        self._count += 1
        self._scheduler.on_trial_add(None, trial)
        return Job(trial, self._random.randrange(len(self._grid)), self._epochs)

    def report(self, job: Job, epoch: int, value: float, now: float) -> bool:
        """Pass the result to the scheduler."""
        result = {OBJECTIVE: value, EPOCHS: epoch + 1}
        if epoch + 1 == job.epochs:
            return True
        return bool(self._scheduler.on_trial_result(None, job.trial, result) == TrialScheduler.CONTINUE)

    def completed(self, job: Job, now: float) -> None:
        """Remove the trial from the scheduler, which needs no last result because `max_t` stops trials."""
        self._scheduler.on_trial_remove(None, job.trial)

    def preempted(self, job: Job, epochs: int, now: float) -> None:
        """Queue the trial again from its newest checkpoint."""
        self._lost.append(replace(job, first_epoch=epochs))
