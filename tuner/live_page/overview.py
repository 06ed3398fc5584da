"""The overview at the top of the live page: progress, best trial, curves, workers and rungs. Its size is bounded."""

from collections import Counter
from itertools import islice
from math import nan

from pydantic import BaseModel, ConfigDict

import tuner
from tuner import names
from tuner.config.settings import Algorithm, Policy
from tuner.live_page import json_values
from tuner.live_page.live_state import LiveState
from tuner.live_page.trial_rows import TrialRow, curve, trial_row
from tuner.study.confirmation import confirmation_line
from tuner.study.progress import downsample, end_of_search, epochs_planned, epochs_saved
from tuner.study.records import TrialState
from tuner.study.rungs import at_rungs, epochs_at, kept_of
from tuner.study.state import StudyState
from tuner.study.status import Activity, EvaluationState, EvaluationSummary, SearchState, WorkerState, search_state
from tuner.study.trial import SCORED, Trial
from tuner.study.views import (
    FAULT,
    BudgetView,
    StudyView,
    WorkView,
    budget_views,
    ending_line,
    outage_line,
    work_view,
)

_SAMPLES = "samples"
DOTS, STOPPED_DOTS, STEPS = 400, 200, 200
"""Maximum number of scores of completed trials, of scores of stopped trials, and of improvements, in the history."""
BEST_CURVES, RUNNING_CURVES, CURVE_POINTS = 8, 24, 150
"""Maximum number of curves of the best trials, of running trials, and of points per curve."""
WORKER_ROWS = 100
"""Maximum number of workers in the table."""


class OverviewPart(BaseModel):
    """Base class of the overview and its parts."""

    model_config = ConfigDict(frozen=True)


class ScoredTrial(OverviewPart):
    """The score of a trial."""

    ended: int
    """The trial's position in the order in which trials ended, from 1."""
    score: float
    trial: str
    stopped: bool
    """Whether the trial was stopped early."""


class LearningCurve(OverviewPart):
    """The objective of a trial by epoch, from 1; None if the value is not finite."""

    trial: str
    state: TrialState
    best: bool
    points: list[tuple[int, float | None]]


class WorkerRow(OverviewPart):
    """What a worker is doing."""

    name: str
    state: WorkerState
    trial: str | None
    attempt: int
    epoch: int
    """Current epoch, from 1."""
    epochs: int | None
    """Number of epochs of the trial; None without a trial, or if a script trains more than is known."""
    progress: float
    images_per_s: float
    silent_s: float
    device: str = ""
    """What the worker trains on; empty if it is unknown."""
    heard: bool = True
    """Whether the worker has called this chief. If not, `silent_s` is counted from the chief's start."""


class RungRow(OverviewPart):
    """A rung of early stopping."""

    rung: int
    epoch: int
    reached: int
    stopped: int
    paused: int
    cut: float | None
    """The objective that a trial must reach now to continue; None if all or none of the trials continue."""
    all_continue: bool
    """Whether every trial continues."""


class Overview(OverviewPart):
    """All data at the top of the page. Times are seconds since 1970 by the chief's clock."""

    version: str
    study: str
    bucket: str
    at: float
    algorithm: Algorithm
    objective: str
    direction: str
    chiefs: int
    search: SearchState
    reason: str
    counts: dict[TrialState, int]
    max_trials: int | None
    budgets: list[BudgetView] = []
    """The budgets that are set, besides max_trials. Chiefs of earlier versions have none."""
    ending: str = ""
    """The budget or the command that has ended the search while trials still run; empty if there is none."""
    paused_since: float | None = None
    """When a user paused the search; None if it is not paused."""
    repetitions: int = 0
    """Number of trials that repeat others with other seeds (search.confirm)."""
    confirmation: str = ""
    """How many of them have ended, and what they say; empty if there are none."""
    work: WorkView | None = None
    """The time of all workers; None if no time has been recorded."""
    epochs_trained: int
    epochs_saved: int
    started: float | None
    ended: float | None
    remaining_s: float | None
    best: TrialRow | None
    dots: list[ScoredTrial]
    """Scores in the order in which trials ended, downsampled."""
    steps: list[ScoredTrial]
    """Scores that were better than all earlier ones."""
    curves: list[LearningCurve]
    workers: list[WorkerRow]
    """The first WORKER_ROWS workers: the silent ones, then the training ones, then the idle ones."""
    worker_counts: dict[WorkerState, int]
    images_per_s: float
    rungs: list[RungRow]
    promotes: bool
    """Whether trials that do not continue at a rung are paused rather than stopped."""
    evaluation: EvaluationState
    evaluation_at: str
    """Location of the evaluation's files."""
    result: EvaluationSummary | None
    """The evaluation's result."""
    problem: str = ""
    """Failure of bucket, disk or network that keeps workers from saving checkpoints; empty if there is none."""
    fault: str = ""
    """Fault of every trial because of which the search ended; empty if there is none."""
    unit: str = "images"
    """What workers train on, as `images_per_s` counts it: images, or samples if the space brings its own data."""


def overview(live: LiveState, bucket: str) -> Overview:
    """Return the overview of a study."""
    state = live.state
    study, search = state.settings, state.settings.search
    trials = list(state.trials.values())
    states = Counter(trial.state for trial in trials)
    best = state.best(BEST_CURVES)
    dots, steps = _history(state)
    worker_states = live.worker_states or {}
    worker_counts = Counter(worker_states.values())
    return Overview(
        version=tuner.__version__,
        study=study.name,
        bucket=bucket,
        at=live.at,
        algorithm=search.algorithm,
        objective=json_values.text(search.objective),
        direction=state.direction,
        chiefs=state.term,
        search=search_state(state),
        reason=json_values.sentence(end_of_search(state)),
        counts={name: states[name] for name in TrialState},
        max_trials=state.max_trials,
        budgets=[view.model_copy(update={"text": json_values.sentence(view.text)}) for view in budget_views(state)],
        ending=json_values.sentence(ending_line(state)),
        paused_since=state.control.paused_since,
        repetitions=len(state.repetitions),
        confirmation=confirmation_line(state),
        work=work_view(state),
        epochs_trained=sum(len(trial.epochs) for trial in trials),
        epochs_saved=epochs_saved(state),
        started=min((trial.started for trial in trials if trial.started), default=None),
        ended=state.finished.at if state.finished else None,
        remaining_s=live.remaining_s,
        best=trial_row(state, best[0], best[0]) if best else None,
        dots=dots,
        steps=steps,
        curves=_curves(state, best),
        workers=_workers(live),
        worker_counts={name: worker_counts[name] for name in WorkerState},
        images_per_s=round(
            sum(
                worker.images_per_s
                for worker in live.workers
                if worker_states.get(worker.worker) is not WorkerState.SILENT
            ),
            1,
        ),
        rungs=_rungs(state),
        promotes=search.early_stopping.policy is Policy.PROMOTION,
        evaluation=live.evaluation,
        evaluation_at=f"{bucket.rstrip('/')}/{names.evaluation(study.name)}",
        result=live.result,
        problem=json_values.sentence(outage_line(state) or next((w.problem for w in live.workers if w.problem), "")),
        fault=json_values.sentence(state.shared_fault),
        unit=_SAMPLES if study.data.own else "images",
    )


def study_view(overview: Overview) -> StudyView:
    """Return the public view of the study, without what the overview lacks, such as the data set's digest."""
    is_over = overview.search in (SearchState.FINISHED, SearchState.GIVEN_UP)
    ended = FAULT if overview.fault else "finished"
    return StudyView(
        study=overview.study,
        state=ended if is_over else "unfinished",
        activity=Activity.FINISHED if is_over else Activity.RUNNING,  # the chief answers
        last_record_s=None,
        gave_up=overview.search is SearchState.GIVEN_UP,
        reason=overview.reason,
        data=names.OWN_DATA if overview.unit == _SAMPLES else "",
        algorithm=overview.algorithm,
        max_trials=overview.max_trials,
        budgets=overview.budgets,
        ending=overview.ending,
        paused_since=overview.paused_since,
        repetitions=overview.repetitions,
        confirmation=overview.confirmation,
        work=overview.work,
        queued=overview.counts.get(TrialState.QUEUED, 0),
        paused=overview.counts.get(TrialState.PAUSED, 0),
        running=overview.counts.get(TrialState.RUNNING, 0),
        completed=overview.counts.get(TrialState.COMPLETED, 0),
        stopped=overview.counts.get(TrialState.STOPPED, 0),
        failed=overview.counts.get(TrialState.FAILED, 0),
        best_trial=overview.best.trial if overview.best else None,
        best_score=overview.best.score if overview.best else None,
        best_hyperparameters=overview.best.hyperparameters if overview.best else None,
        objective=overview.objective,
        epochs_trained=overview.epochs_trained,
        epochs_saved=overview.epochs_saved,
        elapsed_s=None if overview.started is None else (overview.ended or overview.at) - overview.started,
        remaining_s=overview.remaining_s,
        model_sizes=None,
        chiefs=overview.chiefs,
        problem=overview.problem,
    )


def _history(state: StudyState) -> tuple[list[ScoredTrial], list[ScoredTrial]]:
    """Return the overview's dots and steps."""
    objective = state.objective
    completed: list[tuple[int, Trial]] = []
    stopped: list[tuple[int, Trial]] = []
    steps: list[tuple[int, Trial]] = []
    best = nan
    for ended, trial_id in enumerate(state.ended, 1):
        trial = state.trials[trial_id]
        if trial.repeats or trial.score is None or trial.state not in SCORED or not trial.checkpoint:
            continue
        (stopped if trial.state is TrialState.STOPPED else completed).append((ended, trial))
        if objective.is_better(trial.score, best):
            best = trial.score
            steps.append((ended, trial))
    dots = [*downsample(completed, DOTS), *downsample(stopped, STOPPED_DOTS)]
    return [_scored(*dot) for dot in dots], [_scored(*step) for step in steps[-STEPS:]]


def _scored(ended: int, trial: Trial) -> ScoredTrial:
    stopped = trial.state is TrialState.STOPPED
    return ScoredTrial(ended=ended, score=json_values.number(trial.score) or 0.0, trial=trial.trial_id, stopped=stopped)


def _curves(state: StudyState, best: list[Trial]) -> list[LearningCurve]:
    """Return the curves of the best trials and of some running ones."""
    running = (trial for trial in state.trials.values() if trial.state is TrialState.RUNNING and trial.epochs)
    objective = state.settings.search.objective
    return [
        LearningCurve(
            trial=trial.trial_id,
            state=trial.state,
            best=trial is best[0] if best else False,
            points=downsample(curve(trial, objective), CURVE_POINTS),
        )
        for trial in [*best, *islice(running, RUNNING_CURVES)]
    ]


def _workers(live: LiveState) -> list[WorkerRow]:
    states = live.worker_states or {}
    order = [WorkerState.SILENT, WorkerState.TRAINING, WorkerState.IDLE]
    ranked = sorted(live.workers, key=lambda worker: (order.index(states[worker.worker]), worker.worker))
    rows = []
    for worker in ranked[:WORKER_ROWS]:
        trial = live.state.trials.get(names.TrialId(worker.trial or ""))
        rows.append(
            WorkerRow(
                name=json_values.text(worker.worker),
                state=states[worker.worker],
                trial=trial.trial_id if trial else None,
                attempt=worker.attempt,
                epoch=worker.epoch + 1,
                epochs=epochs_planned(live.state, trial, worker.epoch + 1) if trial else None,
                progress=round(worker.progress, 3),
                images_per_s=round(worker.images_per_s, 1),
                silent_s=round(worker.silent_s, 1),
                device=json_values.text(worker.device),
                heard=worker.heard,
            )
        )
    return rows


def _rungs(state: StudyState) -> list[RungRow]:
    settings = state.settings.search.early_stopping
    rungs = []
    for rung, at in at_rungs(state.suggested).items():
        reached = sorted(at.values, key=state.objective.sort_key)
        epoch = epochs_at(settings, rung)
        # includes the next trial to reach the rung; a trial that has reached its last epoch is not stopped there
        is_last = epoch >= state.settings.training.epochs
        kept = 0 if is_last else kept_of(settings, rung, len(reached) + 1)
        rungs.append(
            RungRow(
                rung=rung,
                epoch=epoch,
                reached=len(reached),
                stopped=len(at.stopped),
                paused=len(at.paused),
                cut=json_values.number(reached[min(kept, len(reached)) - 1]) if kept else None,
                all_continue=is_last or (kept == 0 and settings.policy is not Policy.PROMOTION),
            )
        )
    return rungs
