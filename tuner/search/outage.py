"""Pauses the leasing of trials while bucket, disk or network keep workers from saving checkpoints.

During an outage (`tuner.study.state.Outage`), attempts would only train epochs that are lost. So one trial is leased
per pause, as a probe. A pause is twice as long as the previous one, up to LONGEST_S. The first saved checkpoint ends
the outage, and all trials are leased again.
"""

from tuner.study.outage import Outage

FIRST_S = 5.0
"""Pause after the first attempt that an outage has ended. It is short because a single worker's disk may be full."""
LONGEST_S = 300.0


class LeasePause:
    """Decides whether a trial may be leased. Times are monotonic, in seconds."""

    def __init__(self) -> None:
        self._until = 0.0  # a chief that starts during an outage leases one trial immediately

    def is_over(self, outage: Outage | None, monotonic: float) -> bool:
        """Return whether a trial may be leased now."""
        return outage is None or monotonic >= self._until

    def begin(self, outage: Outage | None, monotonic: float) -> float:
        """Begin a pause, after an attempt that the outage has ended or after a probe. Return its length in seconds."""
        if outage is None:
            return 0.0
        seconds = min(LONGEST_S, FIRST_S * 2.0 ** min(outage.attempts - 1, 10))
        self._until = monotonic + seconds
        return seconds
