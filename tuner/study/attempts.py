"""Every attempt of a study as the journal tells it: who tried which trial, from when to when, and how it ended."""

from collections.abc import Iterable
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict

from tuner.names import TrialId
from tuner.study.records import AttemptEnded, Ended, Leased, Opened, Outcome, Record, Reported
from tuner.study.state import first_line


class AttemptRecord(BaseModel):
    """One attempt. Times are seconds since 1970."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    trial: TrialId
    attempt: int
    worker: str
    started: float
    ended: float | None
    """None where it still runs, or its chief was gone before it could say."""

    how: str
    """completed, stopped, failed, preempted, lost, out_of_memory, invalid; running where it has no end."""

    reason: str = ""
    """The sentence, without the traceback."""

    epochs: tuple[int, ...] = ()
    """Those that it reported, from 0."""


@dataclass(frozen=True)
class History:
    """A study's attempts, and when each of its chiefs began."""

    attempts: tuple[AttemptRecord, ...]
    chiefs: tuple[float, ...]
    last: float
    """The time of the last record."""


def attempts_of(records: Iterable[Record]) -> History:
    """Return what the records say, in the order in which the attempts began."""
    found: dict[tuple[TrialId, int], AttemptRecord] = {}
    chiefs: list[float] = []
    last = 0.0
    for record in records:
        last = max(last, record.at)
        match record:
            case Opened():
                chiefs.append(record.at)
            case Leased():
                found[record.trial, record.attempt] = AttemptRecord(
                    trial=record.trial,
                    attempt=record.attempt,
                    worker=record.worker,
                    started=record.at,
                    ended=None,
                    how="running",
                )
            case Reported():
                key = record.trial, record.attempt
                found[key] = found[key].model_copy(update={"epochs": (*found[key].epochs, record.epoch)})
            case AttemptEnded() | Ended():
                key = record.trial, record.attempt
                ending = {"ended": record.at, "how": _how(record), "reason": first_line(record.reason)}
                found[key] = found[key].model_copy(update=ending)
            case _:
                continue
    return History(tuple(found.values()), tuple(chiefs), last)


def interrupted(attempt: AttemptRecord) -> bool:
    """Say whether an attempt was broken off by what is not its trial's fault."""
    return attempt.how in (Outcome.PREEMPTED, Outcome.LOST)


def _how(record: AttemptEnded | Ended) -> str:
    if isinstance(record, Ended) and record.outcome is None:
        return record.state.lower()
    return str(record.outcome)
