"""What `status --json` and `trials --json` print: the public form of a study's state."""

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
    hyperparameters: dict[str, Value]
    score: float | None
    epochs: int
    """How many are reported."""
    started: float | None
    ended: float | None
    worker: str | None
    rung: int | None
    """The highest rung of early stopping that it has reached, from 0."""
    reason: str
    """Why it was stopped early, or failed, or was last interrupted; with the traceback."""


class StudyView(StudyModel):
    """A study, and how many of its trials are in which state."""

    study: str
    state: str
    """finished or unfinished; whether somebody is at work on it, the bucket cannot say."""
    reason: str
    data: str
    """Digest of the packed data set."""
    algorithm: Algorithm
    max_trials: int | None
    """None for hyperband, which makes its own number."""
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
    """By early stopping: those of training.epochs that the stopped trials were spared."""
    chiefs: int
    """How many chiefs the study has had, one after the other."""


def view_trial(trial: Trial) -> TrialView:
    """Return a trial as it is printed."""
    return TrialView(
        trial_id=trial.trial_id,
        state=trial.state,
        attempts=trial.attempts,
        hyperparameters=trial.hyperparameters,
        score=trial.score,
        epochs=len(trial.epochs),
        started=trial.started,
        ended=trial.ended,
        worker=trial.worker,
        rung=max(trial.rungs, default=None),
        reason=trial.reason,
    )


def view_study(state: StudyState) -> StudyView:
    """Return a study as it is printed."""
    study, best = state.settings, state.best()
    counts = {each.value.lower(): sum(trial.state is each for trial in state.trials.values()) for each in TrialState}
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
    )
