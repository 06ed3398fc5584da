"""What `status --json` and `trials --json` print: the public form of a study's state."""

import time

from pydantic import BaseModel, ConfigDict

from tuner.config.settings import Algorithm
from tuner.study.progress import epochs_saved
from tuner.study.records import TrialState, Value, first_line
from tuner.study.state import StudyState, Trial


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
    """finished or unfinished. The bucket does not show whether the study is running."""
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
    objective: str
    epochs_trained: int
    epochs_saved: int
    """Number of epochs that early stopping has saved."""
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


def view_study(state: StudyState) -> StudyView:
    """Return the public view of a study."""
    study, best = state.settings, state.best()
    counts = {kind.value.lower(): sum(t.state is kind for t in state.trials.values()) for kind in TrialState}
    return StudyView(
        study=study.name,
        state="finished" if state.finished else "unfinished",
        reason=first_line(state.finished.reason) if state.finished else "",
        data=state.data_digest,
        algorithm=study.search.algorithm,
        max_trials=None if study.search.algorithm is Algorithm.HYPERBAND else study.search.max_trials,
        **counts,
        best_trial=best[0].trial_id if best else None,
        best_score=best[0].score if best else None,
        objective=study.search.objective,
        epochs_trained=sum(len(trial.epochs) for trial in state.trials.values()),
        epochs_saved=epochs_saved(state),
        chiefs=state.term,
        problem=outage_line(state),
    )


def outage_line(state: StudyState) -> str:
    """Return a sentence about the failure that keeps workers from saving checkpoints, or an empty string."""
    outage = state.outage
    if outage is None:
        return ""
    since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(outage.since))
    attempts = "1 attempt" if outage.attempts == 1 else f"{outage.attempts} attempts"
    return f"no checkpoint has been saved since {since} ({attempts} handed back): {outage.reason}"
