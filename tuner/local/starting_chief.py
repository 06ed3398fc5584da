"""Holds back what workers log about an unreachable chief while the chief is only starting."""

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

STARTING_S = 20.0
"""Seconds after the start of its process for which a chief may be starting. It imports Keras, and builds the model."""
JOINING_S = 1.5
"""Seconds in which a worker that waits for the chief finds the chief after its start."""


class StartingChief:
    """Decides which outages of the chief that workers have logged are shown to the user.

    A worker is started together with the chief, and cannot know whether the chief is unreachable or not ready yet.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._held: dict[str, str] = {}
        self._ready_at = 0.0
        self.starts()

    def starts(self) -> None:
        """Note that the process of the chief has been started."""
        self._ready_at = self._clock() + STARTING_S

    def opens_study(self) -> None:
        """Note that the chief has opened the study, and listens now."""
        self._ready_at = min(self._ready_at, self._clock() + JOINING_S)

    def shown(self, outages: Mapping[str, Sequence[str]], joined: Collection[str]) -> Iterator[tuple[str, str]]:
        """Yield the worker and the line of each outage that is not explained by the start of the chief.

        Args:
            outages: The lines that workers have logged since the last call, by the worker's name.
            joined: Names of the workers that the chief knows.
        """
        if self._clock() < self._ready_at:
            self._held |= {worker: lines[-1] for worker, lines in outages.items() if lines}
        self._held = {worker: line for worker, line in self._held.items() if worker not in joined}
        if self._clock() < self._ready_at:
            return
        yield from self._held.items()
        self._held.clear()
        for worker, lines in outages.items():
            yield from ((worker, line) for line in lines)
