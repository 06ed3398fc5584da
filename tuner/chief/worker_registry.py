"""The workers that the chief knows: the newest process of each name, and when it last called.

The newest process is the last that joined, not the last that called. Otherwise two running processes with the same name
(one is a zombie, or the name was given twice) would end each other's attempts until the trials' retries are used up. A
restarted chief learns from the journal which processes hold leases. For all other processes, their incarnations show
which one joined later.
"""

import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from tuner import limits, names
from tuner.config.settings import Leases
from tuner.rpc import lease_service
from tuner.search.leases import Worker
from tuner.study.status import WorkerState, WorkerStatus

STOCK_TIMEOUT_S = 10.0
"""Seconds for which the chief waits, at the end, for one of Keras Tuner's own workers. Such a worker calls again when
its trial ends, and retries for an hour if no chief answers."""


@dataclass
class WorkerEntry:
    """What the chief knows about a worker."""

    worker: Worker
    last_seen: float
    """Time of the worker's last call (monotonic); the start of this chief's term if the worker has not called since."""
    heard: bool = True
    """Whether the worker has called this chief. If not, only the lease in the journal shows that it exists."""
    heartbeat: lease_service.Heartbeat | None = None
    """The worker's newest heartbeat; None if it has not sent any."""
    pod: str = ""
    """Name of the worker's pod; "" outside Kubernetes, or until a worker of an earlier chief sends a heartbeat."""
    dismissed: bool = False
    """Whether the worker was answered STOPPED and therefore knows that the search has finished."""


class WorkerRegistry:
    """The workers by name during a chief's term. At its start, these are the workers that hold leases."""

    def __init__(self, at_work: Iterable[Worker], term: int) -> None:
        self._last_joined = names.Joining(term, 0)
        self.entries = {worker.name: WorkerEntry(worker, time.monotonic(), heard=False) for worker in at_work}

    def __len__(self) -> int:
        return len(self.entries)

    def is_full(self, name: str) -> bool:
        """Return whether a worker of this name cannot be registered because there are too many workers."""
        return name not in self.entries and len(self) >= limits.WORKERS

    def join(self, name: str, incarnation: str, pod: str = "") -> Worker:
        """Register a process that joins, and return the identity that the process has from now on.

        A process that joins again keeps the identity that it was given first.
        """
        worker = Worker(name, incarnation)
        if worker.joined == names.NEVER_JOINED:
            self._last_joined = names.Joining(self._last_joined.term, self._last_joined.number + 1)
            worker = Worker(name, names.incarnation(self._last_joined, incarnation))
        self.register(worker)
        self.entries[worker.name].pod = pod
        return worker

    def register(self, worker: Worker) -> None:
        """Make a process the newest of its name."""
        entry = self.entries.get(worker.name)
        if entry is None or entry.worker != worker:
            entry = self.entries[worker.name] = WorkerEntry(worker, time.monotonic())
        entry.heard = True

    def pod_of(self, worker: Worker) -> str:
        """Return the name of a process's pod; "" if it is not known."""
        entry = self.entries.get(worker.name)
        return entry.pod if entry and entry.worker == worker else ""

    def record_call(self, worker: Worker) -> WorkerEntry:
        """Record that a process has called, and return the entry of the newest process of its name."""
        entry = self.entries.setdefault(worker.name, WorkerEntry(worker, 0.0))
        joined_before_us = worker.joined.term < self._last_joined.term
        if entry.worker != worker and entry.worker.joined < worker.joined and joined_before_us:
            # both processes joined under an earlier chief, and the older one was the first to call this chief
            entry = self.entries[worker.name] = WorkerEntry(worker, 0.0)
        if entry.worker == worker:
            entry.last_seen, entry.heard = time.monotonic(), True
        return entry

    def unregister(self, worker: Worker) -> None:
        """Remove a process that is about to exit."""
        if self.record_call(worker).worker == worker:
            del self.entries[worker.name]

    def remove_silent(self) -> None:
        """Remove the workers that have been silent for limits.REMEMBERED_S."""
        deadline = time.monotonic() - limits.REMEMBERED_S
        for name in [name for name, entry in self.entries.items() if entry.last_seen < deadline]:
            del self.entries[name]

    def all_dismissed(self, timeout_s: float) -> bool:
        """Return whether every worker knows that the search has finished, or has been silent for `timeout_s`."""
        now = time.monotonic()
        return all(
            entry.dismissed or now - entry.last_seen >= (STOCK_TIMEOUT_S if entry.worker.stock else timeout_s)
            for entry in self.entries.values()
        )

    def status(self) -> list[WorkerStatus]:
        """Return what the workers are doing, sorted by name."""
        now = time.monotonic()
        return [
            WorkerStatus(
                worker=name,
                trial=entry.heartbeat.trial if entry.heartbeat else None,
                attempt=entry.heartbeat.attempt if entry.heartbeat else 0,
                epoch=entry.heartbeat.epoch if entry.heartbeat else 0,
                progress=entry.heartbeat.progress if entry.heartbeat else 0.0,
                images_per_s=entry.heartbeat.images_per_s if entry.heartbeat else 0.0,
                silent_s=now - entry.last_seen,
                heard=entry.heard,
                gpus=entry.heartbeat.gpus if entry.heartbeat else None,
                device=entry.heartbeat.device if entry.heartbeat else "",
                problem=entry.heartbeat.problem if entry.heartbeat else "",
            )
            for name, entry in sorted(self.entries.items())
            if not entry.dismissed
        ]

    def states(self, at_work: Collection[str], leases: Leases) -> dict[str, WorkerState]:
        """Return the state of each worker of `status`. `at_work` contains the names of workers that hold leases."""
        now = time.monotonic()
        return {
            name: WorkerState.SILENT
            if now - entry.last_seen >= (leases.stock_duration_s if entry.worker.stock else leases.duration_s)
            else WorkerState.TRAINING
            if name in at_work
            else WorkerState.IDLE
            for name, entry in self.entries.items()
            if not entry.dismissed
        }
