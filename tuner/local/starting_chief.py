"""Holds back what workers log about an unreachable chief while the chief is only starting."""

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

STARTING_S = 60.0
"""Seconds after the start of its process for which a chief may be starting. It imports Keras, and builds the model."""
PAUSE_S = 2.0
"""Seconds without any use of the processor after which a chief is not starting, but suspended, or waits in vain."""
JOINING_S = 1.5
"""Seconds in which a worker that waits for the chief finds the chief after its start."""


class StartingChief:
    """Decides which outages of the chief that workers have logged are shown to the user.

    A worker is started together with the chief, and cannot know whether the chief is unreachable or not ready yet.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._held: dict[str, str] = {}
        self._cpu_s = 0.0
        self.starts()

    def starts(self) -> None:
        """Note that the process of the chief has been started."""
        self._ready_at = self._clock() + STARTING_S
        self._is_open, self._worked_at = False, self._clock()

    def opens_study(self) -> None:
        """Note that the chief has opened the study, and listens now."""
        self._ready_at = min(self._ready_at, self._clock() + JOINING_S)
        self._is_open = True

    def works(self, cpu_s: float) -> None:
        """Note how many seconds of the processor the process of the chief has used."""
        if cpu_s != self._cpu_s:
            self._cpu_s, self._worked_at = cpu_s, self._clock()

    def shown(self, outages: Mapping[str, Sequence[str]], joined: Collection[str]) -> Iterator[tuple[str, str]]:
        """Yield the worker and the line of each outage that is not explained by the start of the chief.

        Args:
            outages: The lines that workers have logged since the last call, by the worker's name.
            joined: Names of the workers that the chief knows.
        """
        if self._is_starting():
            self._held |= {worker: lines[-1] for worker, lines in outages.items() if lines}
        self._held = {worker: line for worker, line in self._held.items() if worker not in joined}
        if self._is_starting():
            return
        yield from self._held.items()
        self._held.clear()
        for worker, lines in outages.items():
            yield from ((worker, line) for line in lines)

    def _is_starting(self) -> bool:
        now = self._clock()
        return now < self._ready_at and (self._is_open or now - self._worked_at < PAUSE_S)
