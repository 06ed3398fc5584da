"""Bounds of what a caller may ask and tell: each far above what a worker needs, and small beside what a chief has."""

from collections.abc import Mapping

MESSAGE_BYTES = 4 * 1024 * 1024
"""Of a request or an answer; the largest is a trial with the metrics of all its epochs."""
METADATA_BYTES = 8 * 1024
"""Of a call's metadata; above twice that it is not read to its end."""
CALLS = 24_000
"""Under way at once: 10,000 idle workers wait with one each, and send a heartbeat now and then. A call that is one
too many is answered RESOURCE_EXHAUSTED, and a worker tries again."""
STREAMS = 4096
"""Calls under way at once on one connection. A worker has two; simulated ones share connections."""
WORKERS = 20_000
"""Remembered at once."""
REMEMBERED_S = 3600.0
"""A worker that was silent for so long is not shown any more."""
NAME_CHARACTERS = 200
"""Of a worker, an incarnation, a trial or a metric."""
METRICS = 100
"""Of one epoch."""
NUMBER = 1_000_000
"""Epochs and attempts are smaller."""
BEST_TRIALS = 1000
"""Asked for at once."""
REASON_CHARACTERS = 20_000
"""Of a reason, the end of its traceback."""


def is_name(text: str) -> bool:
    """Say whether `text` can name something, also in a log: not empty, not too long, no control characters."""
    return 0 < len(text) <= NAME_CHARACTERS and text.isprintable()


def wrong_report(epoch: int, metrics: Mapping[str, float]) -> str | None:
    """Return the sentence on what is wrong with an epoch's report; None where it can be taken."""
    if not 0 <= epoch < NUMBER:
        return f"the epoch must be from 0 to {NUMBER - 1}, not {epoch}"
    if len(metrics) > METRICS:
        return f"an epoch has {METRICS} metrics at most, not {len(metrics)}"
    if not all(is_name(name) for name in metrics):
        return f"a metric's name must be 1 to {NAME_CHARACTERS} characters that can be printed"
    return None


def number(text: str) -> int:
    """Return the number that metadata says. Raises ValueError where it is none, or out of bounds."""
    if not text.isdecimal() or not text.isascii() or len(text) > len(str(NUMBER)) or int(text) >= NUMBER:
        raise ValueError
    return int(text)
