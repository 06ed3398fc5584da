"""What the chief's services are doing at one moment, for metrics and pages."""

from collections.abc import Mapping
from dataclasses import dataclass

from tuner.study.status import WorkerState, WorkerStatus


@dataclass(frozen=True)
class ServiceSnapshot:
    """What the services are doing at one moment, apart from the study's state."""

    workers: tuple[WorkerStatus, ...]
    worker_states: Mapping[str, WorkerState]
    """By the worker's name."""
    leases: int
    """Number of leases that are held."""
    waiting_workers: int
    """Number of workers whose call for a trial has not been answered yet."""
    segments: int
    """Number of the journal's segments."""
    journal_waiting_s: float
    """Seconds for which the journal has been waiting for the bucket; see JournalWriter.waiting_s."""

    @property
    def images_per_s(self) -> float:
        """Training images per second of all workers that are not silent."""
        return sum(
            worker.images_per_s
            for worker in self.workers
            if self.worker_states[worker.worker] is not WorkerState.SILENT
        )
