"""Limits on what a caller may send. Each is far above what a worker needs, and well below what overloads a chief."""

from collections.abc import Mapping

MESSAGE_BYTES = 4 * 1024 * 1024
"""Maximum size of a request or response. The largest message is a trial with the metrics of all its epochs."""
METADATA_BYTES = 8 * 1024
"""Size of a call's metadata above which gRPC may reject the call. Above twice this size, gRPC always rejects it."""
CALLS = 24_000
"""Maximum number of calls in progress. 10,000 idle workers need 20,000, because each worker waits in one call and sends
heartbeats in another. A call above the limit is answered with RESOURCE_EXHAUSTED, and the worker tries again."""
STREAMS = 4096
"""Maximum number of calls in progress on one connection. A worker needs two. Simulated workers share connections."""
WORKERS = 20_000
"""Maximum number of workers that a chief remembers."""
REMEMBERED_S = 3600.0
"""Seconds of silence after which a worker is no longer shown."""
NAME_CHARACTERS = 200
"""Maximum length of the name of a worker, an incarnation, a trial or a metric."""
POD_NAME_CHARACTERS = 253
"""Maximum length of a pod's name in Kubernetes."""
METRICS = 100
"""Maximum number of metrics of one epoch."""
NUMBER = 1_000_000
"""Exclusive upper limit of epochs and attempts."""
BEST_TRIALS = 1000
"""Maximum number of best trials in one request."""
REASON_CHARACTERS = 20_000
"""Maximum length of the reason why an attempt ended."""
START_S = 30 * 24 * 3600.0
"""Maximum number of seconds from a lease to the first training step."""
DEVICE_CHARACTERS = 100
"""Maximum length of the device in a heartbeat."""
PROBLEM_CHARACTERS = 1000
"""Maximum length of the problem in a heartbeat."""


def is_name(text: str) -> bool:
    """Return whether `text` is a valid name: not empty, not too long, and safe in a log (no control characters)."""
    return 0 < len(text) <= NAME_CHARACTERS and text.isprintable()


def wrong_report(epoch: int, metrics: Mapping[str, float], objective: str) -> str | None:
    """Return what is wrong with the report of an epoch, or None if the report is acceptable."""
    if not 0 <= epoch < NUMBER:
        return f"the epoch must be from 0 to {NUMBER - 1}, got {epoch}"
    if len(metrics) > METRICS:
        return f"an epoch must have at most {METRICS} metrics, got {len(metrics)}"
    if not all(is_name(name) for name in metrics):
        return f"the name of a metric must have 1 to {NAME_CHARACTERS} printable characters"
    if objective not in metrics:
        return (
            f"search.objective is {objective!r}, and the model reports {', '.join(sorted(metrics))}. "
            "Set search.objective to one of these metrics."
        )
    return None


def seconds(text: str) -> float | None:
    """Return the seconds in a metadata value; None if it is empty or not a number from 0 to START_S."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 <= value <= START_S else None


def number(text: str) -> int:
    """Return the number in a metadata value. Raises ValueError if the value is not a number or is out of range."""
    if not text.isdecimal() or not text.isascii() or len(text) > len(str(NUMBER)) or int(text) >= NUMBER:
        raise ValueError
    return int(text)
