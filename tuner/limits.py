"""Limits on what a caller may send: each far above what a worker needs, and small beside what a chief can bear."""

from collections.abc import Mapping

MESSAGE_BYTES = 4 * 1024 * 1024
"""Maximum size of a request or response; the largest is a trial with the metrics of all its epochs."""
METADATA_BYTES = 8 * 1024
"""Maximum size of a call's metadata; above twice that, gRPC stops reading it."""
CALLS = 24_000
"""Maximum number of calls in progress: 10,000 idle workers wait in one each and send heartbeats beside it. A call above
the limit is answered with RESOURCE_EXHAUSTED, and the worker tries again."""
STREAMS = 4096
"""Maximum number of calls in progress on one connection. A worker has two; simulated workers share connections."""
WORKERS = 20_000
"""Maximum number of workers that a chief remembers."""
REMEMBERED_S = 3600.0
"""Seconds of silence after which a worker is no longer shown."""
NAME_CHARACTERS = 200
"""Maximum length of the name of a worker, an incarnation, a trial or a metric."""
METRICS = 100
"""Maximum number of metrics of one epoch."""
NUMBER = 1_000_000
"""Exclusive upper limit of epochs and attempts."""
BEST_TRIALS = 1000
"""Maximum number of best trials in one request."""
REASON_CHARACTERS = 20_000
"""Maximum length of a reason; the end of its traceback is kept."""


def is_name(text: str) -> bool:
    """Return whether `text` can be a name, also in a log: not empty, not too long, no control characters."""
    return 0 < len(text) <= NAME_CHARACTERS and text.isprintable()


def wrong_report(epoch: int, metrics: Mapping[str, float]) -> str | None:
    """Return what is wrong with an epoch's report, or None if it is acceptable."""
    if not 0 <= epoch < NUMBER:
        return f"the epoch must be from 0 to {NUMBER - 1}, not {epoch}"
    if len(metrics) > METRICS:
        return f"an epoch has {METRICS} metrics at most, not {len(metrics)}"
    if not all(is_name(name) for name in metrics):
        return f"a metric's name must be 1 to {NAME_CHARACTERS} characters that can be printed"
    return None


def number(text: str) -> int:
    """Return the number in a metadata value. Raises ValueError if it is none or out of bounds."""
    if not text.isdecimal() or not text.isascii() or len(text) > len(str(NUMBER)) or int(text) >= NUMBER:
        raise ValueError
    return int(text)
