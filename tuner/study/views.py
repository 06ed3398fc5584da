"""What `status --json` and `trials --json` print: the public form of a study's state."""

import time

from pydantic import BaseModel, ConfigDict

from tuner.config.settings import Algorithm
from tuner.study.budgets import budget_uses
from tuner.study.confirmation import confirmation_line
from tuner.study.progress import end_of_search, epochs_saved, remaining_s
from tuner.study.records import ModelSizes, TrialState, Value
from tuner.study.state import StudyState
from tuner.study.status import Activity, liveness
from tuner.study.trial import Trial
from tuner.study.worker_hours import WorkOutcome, cost_of, outcomes_text, total_text, worker_time

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
    """Objective of the best epoch, if the trial has ended or is paused."""
    epochs: int
    """Number of reported epochs."""
    started: float | None
    ended: float | None
    worker: str | None
    verified: bool | None
    """Whether the objective was recomputed with a saved model. False if it cannot be recomputed; None if not known."""
    rung: int | None
    """The highest rung of early stopping that the trial has reached, from 0."""
    repeats: str | None
    """The trial whose hyperparameters this one repeats with another seed (search.confirm)."""
    reason: str
    """Why the trial was stopped early, is paused, failed or was last interrupted, with the traceback."""


class BudgetView(StudyModel):
    """A budget of the search and how much of it is used, as of the newest record."""

    budget: str
    """Key of the setting, such as `search.max_hours`."""
    limit: float
    used: float | None
    """In the unit of the limit: hours, trials or the objective. None if no epoch has an objective yet."""
    text: str
    """Both in one text, such as `0.75 of 1.5 h`."""


class WorkView(StudyModel):
    """The time of all workers, as of the newest record."""

    seconds: dict[WorkOutcome, float]
    """Seconds by outcome: useful, repeated (after interruptions), stopped (or paused), failed and idle."""
    cost: float | None
    """Cost of all these seconds; None if `cost.per_worker_hour` is not set."""
    total: str
    """Hours of all workers with their cost, as a text."""
    outcomes: str
    """Hours by outcome, as a text."""


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
    """None if only other budgets are set, and for hyperband, which determines the number itself."""
    budgets: list[BudgetView]
    """The budgets that are set, besides max_trials."""
    ending: str
    """The budget or the command that has ended the search while trials still run; empty if there is none."""
    paused_since: float | None
    """When a user paused the search, in seconds since 1970; None if it is not paused."""
    work: WorkView | None
    """None if no time has been recorded, as by versions before format 1.3."""
    queued: int
    paused: int
    running: int
    completed: int
    stopped: int
    failed: int
    repetitions: int
    """Number of trials that repeat others with other seeds (search.confirm). max_trials does not include them."""
    confirmation: str
    """How many of the repetitions of search.confirm have ended, and what they say; empty if there are none."""
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

    @property
    def ended_trials(self) -> str:
        """How many trials have ended, and of how many if that is limited, such as `3 of 10`."""
        ended = self.completed + self.stopped + self.failed
        return str(ended) if self.max_trials is None else f"{ended} of {self.max_trials + self.repetitions}"


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
        repeats=trial.repeats,
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
        reason=end_of_search(state),
        data=state.data_digest,
        algorithm=study.search.algorithm,
        max_trials=state.max_trials,
        budgets=budget_views(state),
        ending=ending_line(state),
        paused_since=state.control.paused_since,
        work=work_view(state),
        **counts,
        repetitions=len(state.repetitions),
        confirmation=confirmation_line(state),
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


def budget_views(state: StudyState) -> list[BudgetView]:
    """Return the budgets that are set."""
    uses = budget_uses(state)
    return [BudgetView(budget=use.budget, limit=use.limit, used=use.used, text=use.text) for use in uses]


def ending_line(state: StudyState) -> str:
    """Return the budget or the command that has ended the search while trials still run; empty if there is none.

    While trials are repeated (search.confirm), that is a budget of hours, because no other one ends repetitions.
    """
    if state.ending is None or state.finished or (state.repetitions and not state.ending.ends_everything):
        return ""
    return state.ending.reason


def work_view(state: StudyState) -> WorkView | None:
    """Return the time of all workers by outcome; None if no time has been recorded."""
    time, cost = worker_time(state), state.settings.cost
    if not time.total_s:
        return None
    seconds = {outcome: round(value, 1) for outcome, value in time.seconds.items()}
    price = cost_of(time.total_s, cost)
    return WorkView(
        seconds=seconds,
        cost=None if price is None else round(price, 4),
        total=total_text(time, cost),
        outcomes=outcomes_text(time),
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
    attempts = "1 attempt" if outage.attempts == 1 else f"{outage.attempts} attempts"
    return f"no checkpoint has been saved since {local_time(outage.since)} ({attempts} handed back): {outage.reason}"


def local_time(at: float) -> str:
    """Return a time, in seconds since 1970, as text in this machine's time zone."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))
