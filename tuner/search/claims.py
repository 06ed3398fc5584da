"""What a call to the oracle states, its attempt and its time, and why the oracle refuses it."""

from collections.abc import Mapping
from dataclasses import dataclass

from tuner.names import TrialId
from tuner.search.leases import Lease, LeaseTable, Worker
from tuner.study.records import TrialState
from tuner.study.trial import SCORED, Trial


class StaleAttemptError(Exception):
    """The attempt is not the trial's newest, or belongs to another worker. The caller must abandon the attempt."""


class UnknownTrialError(Exception):
    """There is no trial with that id."""


class BadReportError(Exception):
    """The report cannot be used, for the reason in the message."""


@dataclass(frozen=True)
class AttemptClaim:
    """The attempt that a worker claims to make. A newer attempt may have replaced it, or it may never have existed."""

    worker: Worker
    trial: str
    number: int


@dataclass(frozen=True)
class Instant:
    """A point in time: `at` in seconds since 1970, for records, and `monotonic` in seconds, for deadlines."""

    at: float
    monotonic: float


def lease_of(attempt: AttemptClaim, leases: LeaseTable, trials: Mapping[TrialId, Trial]) -> Lease:
    """Return the lease of an attempt. Raises UnknownTrialError and StaleAttemptError."""
    if TrialId(attempt.trial) not in trials:
        raise UnknownTrialError
    lease = leases.of_trial(TrialId(attempt.trial))
    if lease is None or lease.worker != attempt.worker or lease.attempt != attempt.number:
        raise StaleAttemptError
    return lease


def stock_attempt(trial_id: TrialId, number: int, trials: Mapping[TrialId, Trial]) -> AttemptClaim:
    """Return the attempt of one of Keras Tuner's own workers, whose calls do not name the worker."""
    trial = trials.get(trial_id)
    worker = trial.worker if trial and trial.attempts == number else None
    return AttemptClaim(Worker(worker or "?"), trial_id, number)


def ended_by(attempt: AttemptClaim, trials: Mapping[TrialId, Trial]) -> bool:
    """Return whether this attempt ended its trial with a score, or was the last one before the trial was paused.

    A trial that was handed back because a user has paused the search is queued, and keeps its worker too.
    """
    trial = trials.get(TrialId(attempt.trial))
    ended = {*SCORED, TrialState.PAUSED, TrialState.QUEUED}
    if trial is None or trial.state not in ended or trial.attempts != attempt.number:
        return False
    return Worker(trial.worker or "", trial.incarnation or "") == attempt.worker
