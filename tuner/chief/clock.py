"""The chief's clock."""

import time

from tuner.search.claims import Instant


def now() -> Instant:
    """Return the time by the chief's clock."""
    return Instant(time.time(), time.monotonic())
