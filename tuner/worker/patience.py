"""Repeats what bucket, disk or network made fail, with growing pauses, so that a trained epoch is not lost."""

import logging
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from tuner.errors import EnvironmentFailure

log = logging.getLogger(__name__)

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 5.0

Result = TypeVar("Result")


class Patience:
    """The patience of one attempt with its environment. Its methods may be called from any thread.

    Args:
        limit_s: Seconds of consecutive failures after which an action is not repeated any more.
        show: Called with each failure in one sentence, and with "" when the environment works again.
    """

    def __init__(self, limit_s: float = 0.0, show: Callable[[str], None] = lambda problem: None) -> None:
        self._limit_s = limit_s
        self._show = show
        self._lock = threading.Lock()
        self._since: float | None = None

    @property
    def is_waiting(self) -> bool:
        """Whether an action is failing now."""
        return self._since is not None

    def failing_s(self) -> float:
        """Return for how many seconds an action has been failing; 0 if none is."""
        since = self._since
        return 0.0 if since is None else time.monotonic() - since

    def repeat(self, action: Callable[[], Result], pause: Callable[[float], bool]) -> Result:
        """Call the action until it succeeds, and return its result.

        Args:
            action: What to do. It must be possible to call it again after a failure.
            pause: Waits for a number of seconds. Returns False if the action must not be called again.

        Raises:
            EnvironmentFailure: The last failure of the action, once it has failed for `limit_s`.
            Exception: Any exception of `pause`.
        """
        pause_s = FIRST_PAUSE_S
        while True:
            try:
                result = action()
            except EnvironmentFailure as error:
                left_s = self._limit_s - self._failed(error)
                if left_s <= 0 or not pause(min(pause_s, left_s)):
                    raise
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
            else:
                self._succeeded()
                return result

    def _failed(self, error: EnvironmentFailure) -> float:
        """Record a failure, and return the seconds since the first of the consecutive failures."""
        with self._lock:
            if self._since is None:
                self._since = time.monotonic()
                if self._limit_s:
                    log.warning("%s This is tried again for %g s.", _sentence(error), self._limit_s)
            self._show(str(error))
        return self.failing_s()

    def _succeeded(self) -> None:
        with self._lock:
            if self._since is not None:
                log.info("the environment works again after %.0f s", self.failing_s())
                self._since = None
                self._show("")


def _sentence(error: Exception) -> str:
    text = str(error)
    return text if text.endswith(".") else f"{text}."
