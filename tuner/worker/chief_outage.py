"""Logs that a worker cannot reach its chief: the address, the cause and the duration."""

import logging
import re
import threading
import time

log = logging.getLogger(__name__)

FIRST_S = 8.0
"""Seconds without an answer after which an outage is logged. A chief that is replaced is often back sooner."""
REPEAT_S = 30.0

_TEXT = "the chief at {address} has been unreachable for {duration_s:.0f} s ({cause}), so this worker keeps trying"
_LINE = re.compile(r"the chief at \S+ has been unreachable for \d+ s \(.*\), so this worker keeps trying")


class ChiefOutage:
    """The time in which the chief does not answer. A thread logs the outage, because a call may take minutes to fail.

    Args:
        address: Address of the chief, as `host:port`.
    """

    def __init__(self, address: str) -> None:
        self._address = address
        self._since: float | None = None
        """When the outage began (monotonic); None while the chief answers."""
        self._is_logged = False
        self._cause = "it has not answered yet"
        self._changed = threading.Condition()

    def begin(self, cause: str = "") -> None:
        """Begin an outage if there is none, and note the newest cause."""
        with self._changed:
            self._cause = cause or self._cause
            if self._since is None:
                self._since = time.monotonic()
                threading.Thread(target=self._log, args=(self._since,), name="chief-outage", daemon=True).start()

    def end(self) -> None:
        """End the outage, if there is one, because the chief has answered."""
        with self._changed:
            if self._since is not None and self._is_logged:
                log.info("the chief at %s answers again, after %.0f s", self._address, time.monotonic() - self._since)
            self._stop()

    def close(self) -> None:
        """Log no more, because the worker ends."""
        with self._changed:
            self._stop()

    def _stop(self) -> None:
        self._since, self._is_logged = None, False
        self._changed.notify_all()

    def _log(self, since: float) -> None:
        wait_s = FIRST_S
        with self._changed:
            while not self._changed.wait_for(lambda: self._since != since, wait_s):
                duration_s = time.monotonic() - since
                log.warning(_TEXT.format(address=self._address, duration_s=duration_s, cause=self._cause))
                self._is_logged = True
                wait_s = REPEAT_S


def outages_in(log_text: str) -> list[str]:
    """Return the outages that a worker's log reports, one sentence each."""
    return _LINE.findall(log_text)
