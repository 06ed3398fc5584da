"""The attempts of a study, computed from its journal: which worker trained which trial, when, and how that ended."""

from collections.abc import Iterable
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict

from tuner.names import TrialId
from tuner.study.records import (
    AttemptEnded,
    Ended,
    Leased,
    Opened,
    Outcome,
    Paused,
    Record,
    Reported,
    TrialState,
    first_line,
)

INTERRUPTIONS = (Outcome.PREEMPTED, Outcome.LOST, Outcome.ENVIRONMENT)
"""Outcomes of attempts that were interrupted for a reason other than their trial."""
PAUSED = TrialState.PAUSED.lower()
"""How an attempt ended if its trial was paused."""


class AttemptRecord(BaseModel):
    """One attempt. Times are seconds since 1970."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    trial: TrialId
    attempt: int
    worker: str
    started: float
    ended: float | None
    """None while the attempt runs, or if the chief was lost before it recorded the end."""

    how: str
    """completed, stopped, paused, failed, preempted, lost, out_of_memory, invalid or environment (bucket, disk or
    network failed); running if no end is recorded."""

    reason: str = ""
    """First line of the reason, without the traceback."""

    epochs: tuple[int, ...] = ()
    """Epochs that the attempt reported, numbered from 0."""


@dataclass(frozen=True)
class History:
    """A study's attempts, and when each of its chiefs started."""

    attempts: tuple[AttemptRecord, ...]
    chiefs: tuple[float, ...]
    last: float
    """Time of the last record."""


class AttemptTable:
    """Computes attempts from records. If all records of an attempt are applied again, nothing changes.

    Records of an attempt whose start has not been applied are ignored, because a reader that begins at a snapshot may
    miss the start.
    """

    def __init__(self) -> None:
        self._attempts: dict[tuple[TrialId, int], AttemptRecord] = {}

    def apply(self, record: Record) -> None:
        """Apply the next record. Records that are not about an attempt are ignored."""
        match record:
            case Leased():
                self._attempts[record.trial, record.attempt] = AttemptRecord(
                    trial=record.trial,
                    attempt=record.attempt,
                    worker=record.worker,
                    started=record.at,
                    ended=None,
                    how="running",
                )
            case Reported():
                if attempt := self._attempts.get((record.trial, record.attempt)):
                    self._update(attempt, epochs=(*attempt.epochs, record.epoch))
            case AttemptEnded() | Paused() | Ended():
                attempt = self._attempts.get((record.trial, record.attempt))
                if attempt and attempt.how != PAUSED:  # the end of a paused trial ends no attempt
                    self._update(attempt, ended=record.at, how=_how(record), reason=first_line(record.reason))
            case _:
                return

    def attempts(self) -> list[AttemptRecord]:
        """Return the attempts in the order in which they started."""
        return list(self._attempts.values())

    def _update(self, attempt: AttemptRecord, **changes: object) -> None:
        self._attempts[attempt.trial, attempt.attempt] = attempt.model_copy(update=changes)


def attempts_of(records: Iterable[Record]) -> History:
    """Return the history of a study from all its records."""
    table = AttemptTable()
    chiefs: list[float] = []
    last = 0.0
    for record in records:
        last = max(last, record.at)
        if isinstance(record, Opened):
            chiefs.append(record.at)
        table.apply(record)
    return History(tuple(table.attempts()), tuple(chiefs), last)


def interrupted(attempt: AttemptRecord) -> bool:
    """Return whether an attempt was interrupted for a reason other than its trial, such as the loss of its worker."""
    return attempt.how in INTERRUPTIONS


def _how(record: AttemptEnded | Paused | Ended) -> str:
    if isinstance(record, Paused) or (isinstance(record, Ended) and record.outcome is None):
        return record.state.lower()
    return str(record.cause if isinstance(record, AttemptEnded) else record.outcome)
