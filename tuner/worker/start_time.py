"""The time that an attempt needs until its first training step has been made: what a restart of its trial costs."""

import time


class StartTime:
    """Measures the time from its own creation, when the trial was leased, to the end of the first training step."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._seconds: float | None = None
        self._is_over = False

    def step_done(self) -> None:
        """Note the end of a training step. Only the first one counts."""
        if not self._is_over:
            self._seconds, self._is_over = time.monotonic() - self._began, True

    def taken_s(self) -> float | None:
        """Return the seconds once, after the first epoch; None later, or if no step was noted by then.

        A space's own `fit` may report epochs without noting its steps.
        """
        seconds, self._seconds, self._is_over = self._seconds, None, True
        return seconds
