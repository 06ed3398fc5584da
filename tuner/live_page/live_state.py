"""A frozen copy of the chief's state. The chief's event loop makes it, and the HTTP server's threads read it."""

import asyncio
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tuner.monitoring.endpoint import ANSWER_S
from tuner.study.state import StudyState
from tuner.study.status import EvaluationState, EvaluationSummary, WorkerState, WorkerStatus

FRESH_S = 0.5
"""Seconds for which a copy is reused, so that many open pages cost no more than one."""


@dataclass(frozen=True)
class LiveState:
    """The state that the page shows at one moment."""

    at: float
    """Time at which the copy was made, by the chief's clock (seconds since 1970)."""
    state: StudyState
    evaluation: EvaluationState
    result: EvaluationSummary | None
    """The evaluation's result, if it is known."""
    workers: tuple[WorkerStatus, ...] = ()
    worker_states: Mapping[str, WorkerState] | None = None
    remaining_s: float | None = None
    """Estimated seconds until the search has finished; None if they cannot be estimated."""

    @property
    def is_last(self) -> bool:
        """Whether the state will no longer change while this process runs."""
        return self.state.finished is not None and self.evaluation is not EvaluationState.RUNNING


OPEN_S = 6.0
"""Seconds since its last request for which a page counts as open. A page sends requests every two seconds."""
DRAIN_S = 5.0
"""Maximum seconds for which an ending process waits until an open page has read the last state."""
SETTLE_S = 0.5
"""Seconds to wait for the other requests of a page that has read the last state. A page sends several at once."""


class LiveStateCache:
    """Keeps the newest LiveState for threads that need it often.

    `take` returns the current LiveState, or None while there is nothing to show.
    """

    def __init__(self, take: Callable[[], LiveState | None]) -> None:
        self._take = take
        self._lock = threading.Lock()
        self._newest: LiveState | None = None
        self._taken_at = float("-inf")
        self._read_at = float("-inf")
        self._last_was_read = False

    def get(self) -> LiveState | None:
        """Return the newest state. Raises TimeoutError if the chief does not answer in time."""
        if not self._lock.acquire(timeout=ANSWER_S):
            raise TimeoutError
        try:
            self._read_at = time.monotonic()
            if self._newest is None or time.monotonic() - self._taken_at > FRESH_S:
                self._newest, self._taken_at = self._take(), time.monotonic()
            self._last_was_read = self._newest is not None and self._newest.is_last
            return self._newest
        finally:
            self._lock.release()

    def mark_last_read(self) -> None:
        """Record that an open page has read why the chief ends, which it shows instead of a last state."""
        self._read_at = time.monotonic()
        self._last_was_read = True

    async def drain(self) -> None:
        """Wait until an open page, if there is one, has read the last state."""
        deadline = time.monotonic() + DRAIN_S
        while not self._last_was_read and self._read_at > time.monotonic() - OPEN_S and time.monotonic() < deadline:
            await asyncio.sleep(SETTLE_S / 5)
        if self._last_was_read:
            await asyncio.sleep(SETTLE_S)
