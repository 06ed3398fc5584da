"""Ends `cifake-tune run` if bucket, disk or network keep its workers from saving checkpoints for too long."""

import time
from collections.abc import Callable, Iterable

from tuner.errors import EnvironmentFailure
from tuner.study.records import AttemptEnded, Outcome, Record, Reported, first_line


class OutageWatch:
    """Follows the records of a search for attempts that the environment ended.

    Args:
        limit_s: Seconds for which no checkpoint may be saved after the first failure, if failures recur.
        clock: Returns a monotonic time in seconds.
    """

    def __init__(self, limit_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit_s = limit_s
        self._clock = clock
        self._since: float | None = None

    def follow(self, records: Iterable[Record]) -> None:
        """Apply the next records. Raises EnvironmentFailure if the failure has lasted for too long."""
        for record in records:
            match record:
                case Reported(checkpoint=str()):
                    self._since = None
                case AttemptEnded(cause=Outcome.ENVIRONMENT):
                    now = self._clock()
                    began = now - (record.failing_s or 0.0)
                    self._since = began if self._since is None else min(began, self._since)
                    if now - self._since >= self._limit_s:
                        remedy = "Then run the same command again to continue; no trial is lost."
                        raise EnvironmentFailure(f"{first_line(record.reason)} {remedy}")
