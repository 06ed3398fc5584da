"""What the simulator needs of a search program, and the work that it hands to a worker."""

from dataclasses import dataclass
from typing import Any, Protocol

from bench.simulation.table import Table


@dataclass(frozen=True)
class Job:
    """A trial that a worker trains, from `first_epoch` until `epochs` epochs have been trained."""

    trial: Any
    """The trial, in the terms of the program."""
    configuration: int
    """Number of the configuration in the table's grid."""
    epochs: int
    first_epoch: int = 0
    """Number of epochs that were trained before, and are not repeated."""


class Contender(Protocol):
    """A search program in virtual time. `now` is in seconds since the start of the search."""

    def ask(self, worker: int, now: float) -> Job | None:
        """Return work for an idle worker. None if the worker must wait for another worker's results."""

    def report(self, job: Job, epoch: int, value: float, now: float) -> bool:
        """Report the objective after an epoch (from 0). Return False if the worker must abandon the trial."""

    def completed(self, job: Job, now: float) -> None:
        """Called when a worker has trained all epochs of its job, unless `report` has returned False."""

    def preempted(self, job: Job, epochs: int, now: float) -> None:
        """Called when a worker was lost. `epochs` of the trial's epochs have been trained and reported."""


class Factory(Protocol):
    """Makes a contender for one search."""

    def __call__(self, table: Table, workers: int, seed: int) -> Contender:
        """Return the contender. `workers` is the number of workers, and `seed` seeds all its random choices."""
