"""A failure of bucket, disk or network, as the journal records it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Outage:
    """A failure of bucket, disk or network, because of which no checkpoint has been saved for some time."""

    since: float
    """When it began, in seconds since 1970."""
    attempts: int
    """Number of attempts that it has ended."""
    reason: str
    """Why the last of them ended."""


def extended(outage: Outage | None, began: float, reason: str) -> Outage:
    """Return the outage after it has ended another attempt. For that attempt, it began at `began`."""
    since, attempts = (outage.since, outage.attempts) if outage else (began, 0)
    return Outage(min(since, began), attempts + 1, reason)
