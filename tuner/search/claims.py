"""What a call to the oracle states, its attempt and its time, and why the oracle refuses it."""

from dataclasses import dataclass

from tuner.search.leases import Worker


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
