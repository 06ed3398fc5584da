"""Which workers the chief knows: the newest process of each name, and when it was last heard.

The newest is the last to have joined, not the last to be heard: else two that live at once (a zombie, or two that
were given one name) would end each other's attempts until no trial has any left. A chief that is started anew knows
from the journal which processes are at work, and of all others from their incarnations who joined later.
"""

import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from tuner import limits, names
from tuner.config.settings import Leases
from tuner.rpc import lease_service
from tuner.search.leases import Worker
from tuner.study.status import WorkerState, WorkerStatus

STOCK_FAREWELL_S = 10.0
"""One of Keras Tuner's own workers asks again when it has ended a trial, for an hour if nobody answers."""


@dataclass
class WorkerEntry:
    """What the chief last heard of a worker."""

    worker: Worker
    heard: float
    """Monotonic."""
    beat: lease_service.Heartbeat | None = None
    dismissed: bool = False
    """It was told that the search is over."""


class WorkerRegistry:
    """The workers, by name, in a chief's term; at first those that are at work already."""

    def __init__(self, at_work: Iterable[Worker], term: int) -> None:
        self._last_joined = names.Joining(term, 0)
        self.seen = {worker.name: WorkerEntry(worker, time.monotonic()) for worker in at_work}

    def __len__(self) -> int:
        return len(self.seen)

    def is_full(self, name: str) -> bool:
        """Return whether no worker of this name can be registered."""
        return name not in self.seen and len(self) >= limits.WORKERS

    def joins(self, name: str, incarnation: str) -> Worker:
        """Take note that a process has joined, and return what it is called from now on.

        One that has been called something before (it joins again) keeps that.
        """
        worker = Worker(name, incarnation)
        if worker.joined == names.NEVER_JOINED:
            self._last_joined = names.Joining(self._last_joined.term, self._last_joined.number + 1)
            worker = Worker(name, names.incarnation(self._last_joined, incarnation))
        self.register(worker)
        return worker

    def register(self, worker: Worker) -> None:
        """Take note that a process has joined: it is the newest of its name."""
        seen = self.seen.get(worker.name)
        if seen is None or seen.worker != worker:
            self.seen[worker.name] = WorkerEntry(worker, time.monotonic())

    def hear(self, worker: Worker) -> WorkerEntry:
        """Take note that a process was heard, and return what is known of the newest of its name."""
        seen = self.seen.setdefault(worker.name, WorkerEntry(worker, 0.0))
        if seen.worker != worker and seen.worker.joined < worker.joined and worker.joined.term < self._last_joined.term:
            # both joined before this chief began, and the older one was heard first
            seen = self.seen[worker.name] = WorkerEntry(worker, 0.0)
        if seen.worker == worker:
            seen.heard = time.monotonic()
        return seen

    def unregister(self, worker: Worker) -> None:
        """Take note that a process is about to exit."""
        if self.hear(worker).worker == worker:
            del self.seen[worker.name]

    def forget(self) -> None:
        """Forget the workers that have been silent for long."""
        before = time.monotonic() - limits.REMEMBERED_S
        for name in [name for name, seen in self.seen.items() if seen.heard < before]:
            del self.seen[name]

    def all_dismissed(self, patience_s: float) -> bool:
        """Say whether each was told that the search is over, but for those that have been silent for so long."""
        now = time.monotonic()
        return all(
            seen.dismissed or now - seen.heard >= (STOCK_FAREWELL_S if seen.worker.stock else patience_s)
            for seen in self.seen.values()
        )

    def status(self) -> list[WorkerStatus]:
        """Return what the workers are at, by name."""
        now = time.monotonic()
        return [
            WorkerStatus(
                worker=name,
                trial=seen.beat.trial if seen.beat else None,
                attempt=seen.beat.attempt if seen.beat else 0,
                epoch=seen.beat.epoch if seen.beat else 0,
                progress=seen.beat.progress if seen.beat else 0.0,
                images_per_s=seen.beat.images_per_s if seen.beat else 0.0,
                silent_s=now - seen.heard,
            )
            for name, seen in sorted(self.seen.items())
            if not seen.dismissed
        ]

    def states(self, at_work: Collection[str], leases: Leases) -> dict[str, WorkerState]:
        """Return what each worker of `status` is at; `at_work` are the names of those that hold leases."""
        now = time.monotonic()
        return {
            name: WorkerState.SILENT
            if now - seen.heard >= (leases.stock_duration_s if seen.worker.stock else leases.duration_s)
            else WorkerState.TRAINING
            if name in at_work
            else WorkerState.IDLE
            for name, seen in self.seen.items()
            if not seen.dismissed
        }
