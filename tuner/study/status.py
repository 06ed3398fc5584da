"""What is known of a study that runs beyond its journal: workers, search, evaluation."""

from dataclasses import dataclass
from enum import StrEnum

from pydantic import BaseModel, ConfigDict

from tuner.study.state import StudyState


class WorkerStatus(BaseModel):
    """One worker as the chief last heard of it."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")

    worker: str
    trial: str | None
    attempt: int
    epoch: int
    progress: float
    images_per_s: float
    silent_s: float
    """Seconds since it was last heard."""


class WorkerState(StrEnum):
    """What a worker is at, as the chief sees it."""

    TRAINING = "training"
    IDLE = "idle"
    SILENT = "silent"  # for as long as a lease lasts


class EvaluationState(StrEnum):
    """How far the evaluation is."""

    WAITING = "waiting"  # the search goes on
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


class EvaluationSummary(BaseModel):
    """What of the evaluation's metrics.json is shown."""

    accuracy: float
    accuracy_interval_95: tuple[float, float]
    images: int


@dataclass(frozen=True)
class EvaluationStatus:
    """How far the evaluation is, and its result if it is known."""

    state: EvaluationState = EvaluationState.WAITING
    result: EvaluationSummary | None = None


class SearchState(StrEnum):
    """Whether the search goes on."""

    RUNNING = "running"
    FINISHED = "finished"
    GIVEN_UP = "given_up"  # because of its failures


def search_state(state: StudyState) -> SearchState:
    """Return whether the search goes on."""
    if state.finished is None:
        return SearchState.RUNNING
    return SearchState.GIVEN_UP if state.finished.failed else SearchState.FINISHED
