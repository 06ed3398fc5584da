"""The status of a running study: its search, its workers and its evaluation."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from tuner.config.formats import Versioned
from tuner.study.state import StudyState


class WorkerStatus(BaseModel):
    """One worker, as of its last call to the chief."""

    model_config = ConfigDict(frozen=True, extra="ignore", ser_json_inf_nan="constants")

    worker: str
    trial: str | None
    attempt: int
    epoch: int
    """Epoch that is being trained, numbered from 0."""
    progress: float
    """Fraction of the current epoch that has been trained."""
    images_per_s: float
    silent_s: float
    """Seconds since the worker's last call."""
    gpus: int | None = None
    """Number of GPUs that Keras finds; None if the worker has not reported it."""
    problem: str = ""
    """Failure of bucket, disk or network because of which the worker waits; empty if it works."""


class WorkerState(StrEnum):
    """What a worker is doing, according to its calls to the chief."""

    TRAINING = "training"
    IDLE = "idle"
    SILENT = "silent"  # no call for the duration of a lease


class EvaluationState(StrEnum):
    """The progress of the evaluation."""

    WAITING = "waiting"  # for the search to finish
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


_Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class EvaluationSummary(Versioned):
    """The part of the evaluation's metrics.json that is displayed."""

    accuracy: _Share | None = None
    accuracy_interval_95: tuple[_Share, _Share] | None = None
    images: Annotated[int, Field(ge=1)] | None = None
    results: dict[str, float] | None = None
    """The numbers of a space with its own data or evaluation. The other fields are None then, and only then."""

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        """Refuse a result with neither kind of numbers, or both. Python's ValueError becomes a ValidationError."""
        missing = [value is None for value in (self.accuracy, self.accuracy_interval_95, self.images)]
        if len(set(missing)) > 1 or missing[0] != bool(self.results):
            raise ValueError("it must have accuracy, accuracy_interval_95 and images, or results")
        return self


@dataclass(frozen=True)
class EvaluationStatus:
    """Progress of the evaluation, and its result if it is known."""

    state: EvaluationState = EvaluationState.WAITING
    result: EvaluationSummary | None = None


class SearchState(StrEnum):
    """The progress of the search."""

    RUNNING = "running"
    FINISHED = "finished"
    GIVEN_UP = "given_up"  # after too many consecutive failures


def search_state(state: StudyState) -> SearchState:
    """Return the state of a study's search."""
    if state.finished is None:
        return SearchState.RUNNING
    return SearchState.GIVEN_UP if state.finished.failed else SearchState.FINISHED
