"""The records of a study's journal, which the chief writes: the events in the life of each trial."""

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, TypeAdapter

from tuner.config.formats import Versioned
from tuner.config.recorded import RecordedStudy
from tuner.names import TrialId

Value = bool | int | float | str
"""A hyperparameter's value."""


class TrialState(StrEnum):
    """The states of a trial."""

    QUEUED = "QUEUED"  # waits for a worker, for its first attempt or its next
    RUNNING = "RUNNING"  # leased to a worker
    COMPLETED = "COMPLETED"  # trained to the end; has a score
    STOPPED = "STOPPED"  # stopped early, because others are better; has a score
    FAILED = "FAILED"  # has used up one of its retry budgets; see `reason`


class Outcome(StrEnum):
    """How an attempt ended that did not finish its trial. Most outcomes have a retry budget of their own."""

    PREEMPTED = "preempted"  # the worker was asked to stop and gave its trial back
    LOST = "lost"  # the worker's lease expired or its process was replaced; shares the budget of PREEMPTED
    FAILED = "failed"  # the model or its training raised an exception
    OUT_OF_MEMORY = "out_of_memory"
    INVALID = "invalid"  # would fail in the same way again (a NaN loss, a missing objective): never retried


class _Record(Versioned):
    at: float
    """The chief's clock, seconds since 1970."""


class Opened(_Record):
    """A chief has started its term, with these settings."""

    kind: Literal["opened"] = "opened"
    term: int
    writer: str
    study: RecordedStudy
    data: str
    direction: Literal["max", "min"]
    """Direction of the objective."""
    start: str = ""
    """Id of the Job that the chief belongs to: a chief that crashed and its replacement have the same one. Empty if
    chiefs are only started by users."""


class Created(_Record):
    """The search algorithm has suggested a trial."""

    kind: Literal["created"] = "created"
    trial: TrialId
    hyperparameters: dict[str, Value]
    algorithm: dict[str, Any]
    """State of the algorithm after this suggestion, from which it continues (`tuner.search.suggester`)."""


class Leased(_Record):
    """A worker has been given the trial, for attempt number `attempt` (from 1)."""

    kind: Literal["leased"] = "leased"
    trial: TrialId
    attempt: int
    worker: str
    incarnation: str


class Reported(_Record):
    """An epoch (from 0) has been trained; `checkpoint` is the name of the object with the model after it."""

    kind: Literal["reported"] = "reported"
    trial: TrialId
    attempt: int
    epoch: int
    metrics: dict[str, float]
    checkpoint: str | None = None
    sha256: str | None = None
    """Checksum of that object."""


class AttemptEnded(_Record):
    """An attempt has ended without finishing its trial, which is queued again."""

    kind: Literal["attempt_ended"] = "attempt_ended"
    trial: TrialId
    attempt: int
    outcome: Outcome
    reason: str


class Ended(_Record):
    """The trial has ended."""

    kind: Literal["ended"] = "ended"
    trial: TrialId
    attempt: int
    state: Literal[TrialState.COMPLETED, TrialState.STOPPED, TrialState.FAILED]
    outcome: Outcome | None = None
    """Outcome of the last attempt, if the trial is FAILED."""
    score: float | None = None
    best_epoch: int | None = None
    reason: str = ""


class Finished(_Record):
    """The search is finished, until a chief opens it again for more trials."""

    kind: Literal["finished"] = "finished"
    reason: str
    failed: bool = False
    """Whether the search was given up because of its failures."""


class UnknownRecord(Versioned):
    """A record of a kind that a newer minor version has added; readers skip it."""

    kind: str


Record = Annotated[Opened | Created | Leased | Reported | AttemptEnded | Ended | Finished, Field(discriminator="kind")]


RECORD: TypeAdapter[Record] = TypeAdapter(Record, config=ConfigDict(ser_json_inf_nan="constants"))
"""The configuration of the members does not apply when the union serializes a NaN, so the union needs its own."""


def first_line(text: str) -> str:
    """Return the first line of a reason, without the traceback that may follow it."""
    return text.partition("\n")[0]
