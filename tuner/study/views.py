"""What `status --json` and `trials --json` print: the public form of a study's state."""

import time

from pydantic import BaseModel, ConfigDict

from tuner.config.settings import Algorithm
from tuner.study.progress import epochs_saved, remaining_s
from tuner.study.records import ModelSizes, TrialState, Value, first_line
from tuner.study.state import StudyState, Trial
from tuner.study.status import Activity, liveness

FAULT = "fault"
"""State of a study whose search ended because of a fault that every trial shares."""


class StudyModel(BaseModel):
    """Base of the views."""

    model_config = ConfigDict(frozen=True, ser_json_inf_nan="constants")


class TrialView(StudyModel):
    """One trial. Times are seconds since 1970."""

    trial_id: str
    state: TrialState
    attempts: int
    """Number of attempts, without those that a failure of bucket, disk or network ended."""
    hyperparameters: dict[str, Value]
    score: float | None
    epochs: int
    """Number of reported epochs."""
    started: float | None
    ended: float | None
    worker: str | None
    verified: bool | None
    """Whether the objective was recomputed with a saved model. False if it cannot be recomputed; None if not known."""
    rung: int | None
    """The highest rung of early stopping that the trial has reached, from 0."""
    reason: str
    """Why the trial was stopped early, failed or was last interrupted, with the traceback."""


class StudyView(StudyModel):
    """One study, and the number of its trials in each state."""

    study: str
    state: str
    """finished, unfinished, or fault: the search ended because every trial would fail, as the reason says."""
    activity: Activity
    """Whether processes work on the study, judging by the age of the newest record and by the leased trials."""
    last_record_s: float | None
    """Seconds since the newest record of the journal; None if unknown."""
    gave_up: bool
    """Whether the search ended because of its failures. Starting it again tries its failed trials again."""
    reason: str
    data: str
    """Digest of the packed data set."""
    algorithm: Algorithm
    max_trials: int | None
    """None for hyperband, which determines the number itself."""
    queued: int
    running: int
    completed: int
    stopped: int
    failed: int
    best_trial: str | None
    best_score: float | None
    best_hyperparameters: dict[str, Value] | None
    objective: str
    epochs_trained: int
    epochs_saved: int
    """Number of epochs that early stopping has saved."""
    elapsed_s: float | None
    """Seconds from the start of the first chief to the end of the search or, if it has not ended, to now."""
    remaining_s: float | None
    """Estimated remaining seconds of a running search; None if they cannot be estimated."""
    model_sizes: ModelSizes | None
    """Sizes of the space's models; None if unknown."""
    chiefs: int
    """Number of chiefs that the study has had so far."""
    problem: str
    """Failure of bucket, disk or network because of which no checkpoint has been saved lately; empty if there is none.
    """


def view_trial(trial: Trial) -> TrialView:
    """Return the public view of a trial."""
    return TrialView(
        trial_id=trial.trial_id,
        state=trial.state,
        attempts=trial.counted_attempts,
        hyperparameters=trial.hyperparameters,
        score=trial.score,
        epochs=len(trial.epochs),
        started=trial.started,
        ended=trial.ended,
        worker=trial.worker,
        verified=trial.verified,
        rung=max(trial.rungs, default=None),
        reason=trial.reason,
    )


def view_study(state: StudyState, now: float | None = None) -> StudyView:
    """Return the public view of a study at `now`, in seconds since 1970. Default: the current time."""
    now = time.time() if now is None else now
    study, best, alive = state.settings, state.best(), liveness(state, now)
    counts = {kind.value.lower(): sum(t.state is kind for t in state.trials.values()) for kind in TrialState}
    return StudyView(
        study=study.name,
        state=FAULT if state.shared_fault else "finished" if state.finished else "unfinished",
        activity=alive.activity,
        last_record_s=None if alive.silent_s is None else round(alive.silent_s, 1),
        gave_up=state.finished is not None and state.finished.failed,
        reason=first_line(state.finished.reason) if state.finished else "",
        data=state.data_digest,
        algorithm=study.search.algorithm,
        max_trials=None if study.search.algorithm is Algorithm.HYPERBAND else study.search.max_trials,
        **counts,
        best_trial=best[0].trial_id if best else None,
        best_score=best[0].score if best else None,
        best_hyperparameters=best[0].chosen if best else None,
        objective=study.search.objective,
        epochs_trained=sum(len(trial.epochs) for trial in state.trials.values()),
        epochs_saved=epochs_saved(state),
        elapsed_s=_elapsed_s(state, now),
        remaining_s=remaining_s(state, now) if alive.activity is Activity.RUNNING else None,
        model_sizes=state.model_sizes,
        chiefs=state.term,
        problem=outage_line(state),
    )


def _elapsed_s(state: StudyState, now: float) -> float | None:
    if state.began is None:
        return None
    return round(max(0.0, (state.finished.at if state.finished else now) - state.began), 1)


def outage_line(state: StudyState) -> str:
    """Return a sentence about the failure that keeps workers from saving checkpoints, or an empty string."""
    outage = state.outage
    if outage is None:
        return ""
    since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(outage.since))
    attempts = "1 attempt" if outage.attempts == 1 else f"{outage.attempts} attempts"
    return f"no checkpoint has been saved since {since} ({attempts} handed back): {outage.reason}"
