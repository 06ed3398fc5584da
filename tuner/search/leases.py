"""Leases: the chief's promises that a trial belongs to one worker until a deadline."""

from dataclasses import dataclass

from tuner.names import Joining, TrialId, parse_incarnation


@dataclass(frozen=True)
class Worker:
    """One process of a worker. A process that replaces this one has the same name but another incarnation.

    `incarnation` is empty for Keras Tuner's own workers, which do not send one. They also send no heartbeats.
    """

    name: str
    incarnation: str = ""

    @property
    def stock(self) -> bool:
        """Whether this is one of Keras Tuner's own workers."""
        return not self.incarnation

    @property
    def joined(self) -> Joining:
        """When the process joined."""
        return parse_incarnation(self.incarnation)


@dataclass
class Lease:
    """The promise that a trial belongs to this worker until the deadline (seconds, monotonic)."""

    trial: TrialId
    attempt: int
    worker: Worker
    deadline: float


class LeaseTable:
    """Leases by trial and by worker name, because every call looks up a lease by one of them among thousands."""

    def __init__(self) -> None:
        self._by_trial: dict[TrialId, Lease] = {}
        self._by_worker: dict[str, dict[TrialId, Lease]] = {}

    def __len__(self) -> int:
        return len(self._by_trial)

    def add(self, lease: Lease) -> None:
        """Add a new lease."""
        self._by_trial[lease.trial] = lease
        self._by_worker.setdefault(lease.worker.name, {})[lease.trial] = lease

    def end(self, trial: TrialId) -> None:
        """Remove a trial's lease. Raises KeyError if the trial has none."""
        lease = self._by_trial.pop(trial)
        of_worker = self._by_worker[lease.worker.name]
        del of_worker[trial]
        if not of_worker:
            del self._by_worker[lease.worker.name]

    def clear(self) -> None:
        """Remove all leases."""
        self._by_trial.clear()
        self._by_worker.clear()

    def extend(self, seconds: float) -> None:
        """Postpone every deadline by this number of seconds."""
        for lease in self._by_trial.values():
            lease.deadline += seconds

    def of_trial(self, trial: TrialId) -> Lease | None:
        """Return the trial's lease, if it has one."""
        return self._by_trial.get(trial)

    def of_worker(self, name: str) -> list[Lease]:
        """Return the leases of all processes of a worker."""
        return list(self._by_worker.get(name, {}).values())

    def workers(self) -> list[Worker]:
        """Return the workers that hold leases, one entry per lease."""
        return [lease.worker for lease in self._by_trial.values()]

    def trials(self) -> list[TrialId]:
        """Return the trials that are leased."""
        return list(self._by_trial)

    def expired(self, monotonic: float) -> list[Lease]:
        """Return the leases whose deadline has passed."""
        return [lease for lease in self._by_trial.values() if lease.deadline <= monotonic]
