"""The simulation of a search: a virtual clock, and workers that train trials by reading a table of learning curves.

A worker that has no work asks the contender for a job. Starting the trial costs `start_s`, and each epoch takes the
seconds of the table. The time that a contender itself needs for its decisions does not count.
"""

import heapq
import random
from collections import deque
from dataclasses import dataclass, field
from enum import IntEnum
from itertools import count
from math import inf

from bench.simulation.contender import Contender, Job
from bench.simulation.table import Table


@dataclass(frozen=True)
class Cluster:
    """The machines of a simulated search."""

    workers: int
    start_s: float = 0.0
    """Seconds to start or resume a trial: building and compiling its model, and downloading a checkpoint."""
    preemptions_per_hour: float = 0.0
    """Rate at which each worker is lost. The epoch that it trains is lost with it."""
    replaced_s: float = 60.0
    """Seconds until a lost worker is replaced."""


@dataclass
class Run:
    """What happened in one simulated search."""

    improvements: list[tuple[float, float]] = field(default_factory=list)
    """Time and objective of each epoch that was better than all epochs before it."""
    epochs: int = 0
    """Number of epochs trained."""
    starts: int = 0
    """Number of times that a trial was started or resumed."""
    trials: set[int] = field(default_factory=set)
    """The configurations that were trained."""
    preemptions: int = 0
    ended_s: float = 0.0
    """Time of the last event."""

    def time_to(self, target: float) -> float | None:
        """Return the time at which an epoch reached the target; None if none did."""
        return next((at for at, value in self.improvements if value >= target), None)

    def best_at(self, seconds: float) -> float:
        """Return the best objective of the epochs that had ended at this time; 0 if there were none."""
        return max((value for at, value in self.improvements if at <= seconds), default=0.0)


class _Kind(IntEnum):
    """What happens to a worker at a point in time; at the same time, the first kind happens first."""

    EPOCH = 0  # it has trained an epoch
    PREEMPTED = 1
    READY = 2  # it has been started or replaced


@dataclass
class _Worker:
    job: Job | None = None
    epochs: int = 0
    """Number of epochs of the job's trial that have been trained."""
    life: int = 0
    """Number of times that the worker was replaced. Events of earlier lives are ignored."""


def simulate(
    table: Table,
    contender: Contender,
    cluster: Cluster,
    budget_s: float,
    seed: int = 0,
    enough: float = inf,
    at_least_s: float = 0.0,
) -> Run:
    """Run a search until its budget ends, nothing is left to do, or an objective reaches `enough`.

    Args:
        table: The learning curves.
        contender: The search program.
        cluster: The workers.
        budget_s: Virtual seconds after which the search ends. An epoch that ends later does not count.
        seed: Seed of the preemptions.
        enough: Objective with which the search may end.
        at_least_s: Virtual seconds before which the search does not end because of `enough`.
    """
    return _Simulation(table, contender, cluster, seed).run(budget_s, enough, at_least_s)


class _Simulation:
    def __init__(self, table: Table, contender: Contender, cluster: Cluster, seed: int) -> None:
        self._table = table
        self._contender = contender
        self._cluster = cluster
        self._random = random.Random(seed)
        self._workers = [_Worker() for _ in range(cluster.workers)]
        self._waiting: deque[int] = deque()
        self._events: list[tuple[float, _Kind, int, int, int]] = []
        """Time, kind, order of scheduling, worker, and the worker's life."""
        self._order = count()
        self._result = Run()
        for number in range(cluster.workers):
            self._schedule(0.0, _Kind.READY, number)
            self._schedule_preemption(0.0, number)

    def run(self, budget_s: float, enough: float, at_least_s: float) -> Run:
        """Handle the events in the order of their times."""
        result, best = self._result, -inf
        while self._events:
            now, kind, _, number, life = heapq.heappop(self._events)
            worker = self._workers[number]
            if life != worker.life:
                continue
            if now > budget_s:
                break
            match kind:
                case _Kind.READY:
                    self._waiting.append(number)
                case _Kind.EPOCH:
                    value = self._epoch_ended(number, now)
                    if value > best:
                        best = value
                        result.improvements.append((now, value))
                case _Kind.PREEMPTED:
                    self._preempt(number, now)
            result.ended_s = now
            if best >= enough and now >= at_least_s:
                break
            self._occupy(now)
            if all(waiting.job is None for waiting in self._workers) and len(self._waiting) == len(self._workers):
                break  # the search is exhausted: only preemptions of idle workers are left
        return result

    def _schedule(self, at: float, kind: _Kind, number: int) -> None:
        heapq.heappush(self._events, (at, kind, next(self._order), number, self._workers[number].life))

    def _schedule_preemption(self, now: float, number: int) -> None:
        if rate := self._cluster.preemptions_per_hour:
            self._schedule(now + self._random.expovariate(rate / 3600), _Kind.PREEMPTED, number)

    def _occupy(self, now: float) -> None:
        """Let each waiting worker ask for work, the one that has waited longest first."""
        for _ in range(len(self._waiting)):
            number = self._waiting.popleft()
            job = self._contender.ask(number, now)
            if job is None:
                self._waiting.append(number)
                continue
            worker = self._workers[number]
            worker.job, worker.epochs = job, job.first_epoch
            self._result.starts += 1
            self._result.trials.add(job.configuration)
            self._schedule(now + self._cluster.start_s + self._epoch_s(job), _Kind.EPOCH, number)

    def _epoch_s(self, job: Job) -> float:
        return float(self._table.scaled_s[job.configuration])

    def _epoch_ended(self, number: int, now: float) -> float:
        """Report the epoch that a worker has trained, and return its objective."""
        worker = self._workers[number]
        job = worker.job
        assert job is not None
        value = float(self._table.curves[job.configuration, worker.epochs])
        self._result.epochs += 1
        proceeds = self._contender.report(job, worker.epochs, value, now)
        worker.epochs += 1
        if proceeds and worker.epochs < job.epochs:
            self._schedule(now + self._epoch_s(job), _Kind.EPOCH, number)
            return value
        if proceeds:
            self._contender.completed(job, now)
        worker.job = None
        self._waiting.append(number)
        return value

    def _preempt(self, number: int, now: float) -> None:
        worker = self._workers[number]
        worker.life += 1
        self._result.preemptions += 1
        if worker.job is None:
            self._waiting.remove(number)
        else:
            self._contender.preempted(worker.job, worker.epochs, now)
            worker.job = None
        back = now + self._cluster.replaced_s
        self._schedule(back, _Kind.READY, number)
        self._schedule_preemption(back, number)
