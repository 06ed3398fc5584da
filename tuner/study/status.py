"""The status of a running study: its search, its workers and its evaluation."""

import re
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from tuner.config.formats import Versioned
from tuner.study.records import TrialState
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
    """Seconds since the worker's last call; since the chief's start if `heard` is false."""
    heard: bool = True
    """Whether the worker has called this chief. If not, only a lease of an earlier chief shows that it exists."""
    gpus: int | None = None
    """Number of GPUs that Keras finds; None if the worker has not reported it."""
    device: str = ""
    """What the worker trains on, such as `GPU 1`, `NVIDIA H200` or `CPU`; empty if it has not reported it."""
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
    PAUSED = "paused"  # by a user
    FINISHED = "finished"
    GIVEN_UP = "given_up"  # after too many consecutive failures


class Activity(StrEnum):
    """Whether processes work on a study, as far as its journal shows that."""

    RUNNING = "running"
    NOT_RUNNING = "not_running"
    UNKNOWN = "unknown"  # no worker has a trial: workers may be starting or missing, or the chief may have ended
    FINISHED = "finished"


STARTING_S = 300.0
"""Seconds for which a study without a leased trial may be starting: importing Keras and unpacking data take minutes."""
UNKNOWN_EPOCH_S = 3600.0
"""Seconds that an epoch is assumed to take at most, before any epoch of the study has been reported."""
SLOWER = 4
"""Factor by which an epoch of one model may take longer than nine tenths of the study's epochs so far."""


@dataclass(frozen=True)
class Liveness:
    """Whether a study runs, and what that is concluded from."""

    activity: Activity
    silent_s: float | None
    """Seconds since the newest record; None if unknown."""
    leased: int
    """Number of trials that are leased to a worker."""


def liveness(state: StudyState, now: float) -> Liveness:
    """Return whether a study runs at `now`, in seconds since 1970.

    Heartbeats are not recorded, but epochs are, so a running study with leased trials is silent for one epoch at most.
    The end of a worker or lease is recorded, too. So a study without leased trials is starting or has no workers.
    """
    leased = [trial for trial in state.trials.values() if trial.state is TrialState.RUNNING]
    silent_s = None if state.last_record is None else max(0.0, now - state.last_record)
    if state.finished is not None:
        return Liveness(Activity.FINISHED, silent_s, len(leased))
    if silent_s is None:
        return Liveness(Activity.UNKNOWN, silent_s, len(leased))
    lease_s = state.settings.leases.duration_s
    if leased:
        activity = Activity.RUNNING if silent_s <= lease_s + _longest_epoch_s(state) else Activity.NOT_RUNNING
    elif silent_s <= lease_s:
        activity = Activity.RUNNING
    else:
        activity = Activity.UNKNOWN if silent_s <= STARTING_S else Activity.NOT_RUNNING
    return Liveness(activity, silent_s, len(leased))


def _longest_epoch_s(state: StudyState) -> float:
    """Return how long an epoch may take, judging by the epochs so far."""
    durations = []
    for trial in state.trials.values():
        times = [trial.reported[epoch] for epoch in sorted(trial.reported)]
        if trial.pauses and trial.leased is not None:  # the time for which it was paused does not count
            times = [trial.leased, *(at for at in times if at >= trial.leased)]
        elif trial.started is not None and trial.counted_attempts == 1:
            times.insert(0, trial.started)  # includes the start of the worker
        durations += [later - earlier for earlier, later in pairwise(times)]
    if not durations:
        return UNKNOWN_EPOCH_S
    usual = sorted(durations)[int(0.9 * (len(durations) - 1))]
    return max(60.0, SLOWER * usual)


def search_state(state: StudyState) -> SearchState:
    """Return the state of a study's search."""
    if state.finished is None:
        return SearchState.PAUSED if state.control.is_paused else SearchState.RUNNING
    return SearchState.GIVEN_UP if state.finished.failed else SearchState.FINISHED


def process_name(worker: str, number: int) -> str:
    """Return the name of a process of a worker that has several, such as `worker-3-1`."""
    return f"{worker}-{number}"


def is_process_of(name: str, worker: str) -> bool:
    """Return whether this is the name of a process of a worker that has several."""
    return re.fullmatch(rf"{re.escape(worker)}-[0-9]{{1,4}}", name) is not None
