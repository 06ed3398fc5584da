"""A study at a moment, as the chief has it in memory: taken in the chief's event loop, read in other threads."""

import asyncio
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tuner.monitoring.endpoint import ANSWER_S
from tuner.study.state import StudyState
from tuner.study.status import EvaluationState, EvaluationSummary, WorkerState, WorkerStatus

FRESH_S = 0.5
"""Questions that come so soon after each other are answered from one moment: many pages cost as much as one."""


@dataclass(frozen=True)
class LiveState:
    """What is known; nothing of it changes any more."""

    at: float
    """Seconds since 1970, by the chief's clock."""
    state: StudyState
    evaluation: EvaluationState
    result: EvaluationSummary | None
    """Of the evaluation."""
    workers: tuple[WorkerStatus, ...] = ()
    worker_states: Mapping[str, WorkerState] | None = None
    remaining_s: float | None = None
    """Until the search is over, as far as that can be known."""

    @property
    def is_last(self) -> bool:
        """Whether nothing will change any more while this process is there."""
        return self.state.finished is not None and self.evaluation is not EvaluationState.RUNNING


WATCHED_S = 6.0
"""A page asks every two seconds."""
FAREWELL_S = 5.0
"""A page that is open is told how it ended before whoever shows it ends; so long that may take."""
TOLD_S = 0.5
"""It asks for several things at once."""


class LiveStateCache:
    """The newest moment, for threads that ask again and again.

    `take` returns the present one; None as long as there is nothing to show.
    """

    def __init__(self, take: Callable[[], LiveState | None]) -> None:
        self._take = take
        self._lock = threading.Lock()
        self._moment: LiveState | None = None
        self._taken = float("-inf")
        self._asked = float("-inf")
        self._told_end = False

    def get(self) -> LiveState | None:
        """Return it. Raises TimeoutError where it is not to be had: those who ask later do not wait for longer."""
        if not self._lock.acquire(timeout=ANSWER_S):
            raise TimeoutError
        try:
            self._asked = time.monotonic()
            if self._moment is None or time.monotonic() - self._taken > FRESH_S:
                self._moment, self._taken = self._take(), time.monotonic()
            self._told_end = self._moment is not None and self._moment.is_last
            return self._moment
        finally:
            self._lock.release()

    async def drain(self) -> None:
        """Wait until a page that is open, if there is one, knows the last of it."""
        deadline = time.monotonic() + FAREWELL_S
        while not self._told_end and self._asked > time.monotonic() - WATCHED_S and time.monotonic() < deadline:
            await asyncio.sleep(TOLD_S / 5)
        if self._told_end:
            await asyncio.sleep(TOLD_S)
