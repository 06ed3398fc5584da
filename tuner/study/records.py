"""The records of a study's journal: what happened to its trials, in the chief's words."""

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from tuner.config.settings import Study
from tuner.names import TrialId

Value = bool | int | float | str
"""A hyperparameter's value."""


class TrialState(StrEnum):
    """Where a trial is in its life."""

    QUEUED = "QUEUED"  # waits for a worker, for its first attempt or its next
    RUNNING = "RUNNING"  # leased to a worker
    COMPLETED = "COMPLETED"  # trained to its end; has a score
    STOPPED = "STOPPED"  # stopped early, as it could not win any more; has a score
    FAILED = "FAILED"  # over one of its retry budgets; `reason` says why


class Outcome(StrEnum):
    """How an attempt ended that did not finish its trial; each has a retry budget of its own."""

    PREEMPTED = "preempted"  # the worker was asked to stop, and gave its trial back
    LOST = "lost"  # the worker fell silent, or came back as a new process; shares preempted's budget
    FAILED = "failed"  # the model or its training raised an exception
    OUT_OF_MEMORY = "out_of_memory"
    INVALID = "invalid"  # would fail the same way again (a NaN loss, a missing objective): no budget


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")

    v: Literal[1] = 1
    at: float
    """The chief's clock, seconds since 1970."""


class Opened(_Record):
    """A chief begins its term; the settings are those it serves."""

    kind: Literal["opened"] = "opened"
    term: int
    writer: str
    study: Study
    data: str
    direction: Literal["max", "min"]
    """Of the objective."""
    start: str = ""
    """The start that the chief belongs to, as its scheduler counts them: one that crashed and is started again belongs
    to the same. Empty where every start is a person's."""


class Created(_Record):
    """The search algorithm suggested a trial."""

    kind: Literal["created"] = "created"
    trial: TrialId
    hyperparameters: dict[str, Value]
    algorithm: dict[str, Any]
    """What the algorithm needs to go on after this suggestion (`tuner.search.suggester`)."""


class Leased(_Record):
    """A worker got the trial, for attempt number `attempt` (from 1)."""

    kind: Literal["leased"] = "leased"
    trial: TrialId
    attempt: int
    worker: str
    incarnation: str


class Reported(_Record):
    """An epoch (from 0) is done; `checkpoint` is the object that holds the model after it."""

    kind: Literal["reported"] = "reported"
    trial: TrialId
    attempt: int
    epoch: int
    metrics: dict[str, float]
    checkpoint: str | None = None
    sha256: str | None = None
    """Of that object."""


class AttemptEnded(_Record):
    """An attempt ended without finishing its trial, which is queued again."""

    kind: Literal["attempt_ended"] = "attempt_ended"
    trial: TrialId
    attempt: int
    outcome: Outcome
    reason: str


class Ended(_Record):
    """The trial has come to its end."""

    kind: Literal["ended"] = "ended"
    trial: TrialId
    attempt: int
    state: Literal[TrialState.COMPLETED, TrialState.STOPPED, TrialState.FAILED]
    outcome: Outcome | None = None
    """Of the last attempt, where the trial FAILED."""
    score: float | None = None
    best_epoch: int | None = None
    reason: str = ""


class Finished(_Record):
    """The search is over (until a chief opens it again, for more trials)."""

    kind: Literal["finished"] = "finished"
    reason: str
    failed: bool = False
    """It was given up because of its failures."""


Record = Annotated[Opened | Created | Leased | Reported | AttemptEnded | Ended | Finished, Field(discriminator="kind")]


RECORD: TypeAdapter[Record] = TypeAdapter(Record, config=ConfigDict(ser_json_inf_nan="constants"))
"""The union has a configuration of its own: those of its members do not count when it writes a NaN."""


def first_line(text: str) -> str:
    """Return the sentence of a reason, without the traceback that may follow it."""
    return text.partition("\n")[0]
