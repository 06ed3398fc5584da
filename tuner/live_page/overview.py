"""The top of the live page: how far the study is, the best so far, curves, workers, rungs. Its size is bounded."""

from collections import Counter
from itertools import islice
from math import nan

from pydantic import BaseModel, ConfigDict

import tuner
from tuner import names
from tuner.config.settings import Algorithm
from tuner.live_page import json_values
from tuner.live_page.live_state import LiveState
from tuner.live_page.trial_rows import TrialRow, curve, row_of
from tuner.study.progress import downsample, epochs_of, epochs_saved
from tuner.study.records import TrialState
from tuner.study.rungs import at_rungs, epochs_at, kept_of
from tuner.study.state import SCORED, StudyState, Trial
from tuner.study.status import EvaluationState, EvaluationSummary, SearchState, WorkerState, search_state

DOTS, STOPPED_DOTS, STEPS = 400, 200, 200
"""Of scores, of those of trials that were stopped early, and of improvements, in the history."""
BEST_CURVES, RUNNING_CURVES, CURVE_POINTS = 8, 24, 150
WORKER_ROWS = 100


class OverviewPart(BaseModel):
    """Base of what travels."""

    model_config = ConfigDict(frozen=True)


class Scored(OverviewPart):
    """The score of a trial, and as which it ended, from 1."""

    ended: int
    score: float
    trial: str
    stopped: bool
    """Early."""


class LearningCurve(OverviewPart):
    """The objective of a trial by epoch, from 1; a value that is no number is None."""

    trial: str
    state: TrialState
    best: bool
    points: list[tuple[int, float | None]]


class WorkerRow(OverviewPart):
    """What a worker is at."""

    name: str
    state: WorkerState
    trial: str | None
    attempt: int
    epoch: int
    """That it trains, from 1."""
    epochs: int | None
    """That the trial is to be trained for."""
    progress: float
    images_per_s: float
    silent_s: float


class RungRow(OverviewPart):
    """A rung of early stopping."""

    rung: int
    epoch: int
    reached: int
    stopped: int
    cut: float | None
    """A trial that comes now goes on with this objective, or a better one; None where any goes on."""


class Overview(OverviewPart):
    """All of it. Times are seconds since 1970 by the chief's clock."""

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
    epochs_trained: int
    epochs_saved: int
    started: float | None
    ended: float | None
    remaining_s: float | None
    best: TrialRow | None
    dots: list[Scored]
    """Scores, downsampled."""
    steps: list[Scored]
    """Those that were better than all before them."""
    curves: list[LearningCurve]
    workers: list[WorkerRow]
    """Those that are silent, then those that train, then the idle ones; the first of them only."""
    worker_counts: dict[WorkerState, int]
    images_per_s: float
    rungs: list[RungRow]
    evaluation: EvaluationState
    evaluation_at: str
    """Where its files are, or will be."""
    result: EvaluationSummary | None
    """Of the evaluation."""


def overview(moment: LiveState, bucket: str) -> Overview:
    """Return what the top of the page shows of a study."""
    state = moment.state
    study, search = state.settings, state.settings.search
    trials = list(state.trials.values())
    states = Counter(trial.state for trial in trials)
    best = state.best(BEST_CURVES)
    dots, steps = _history(state)
    worker_states = moment.worker_states or {}
    return Overview(
        version=tuner.__version__,
        study=study.name,
        bucket=bucket,
        at=moment.at,
        algorithm=search.algorithm,
        objective=json_values.text(search.objective),
        direction=state.direction,
        chiefs=state.term,
        search=search_state(state),
        reason=json_values.sentence(state.finished.reason) if state.finished else "",
        counts={each: states[each] for each in TrialState},
        max_trials=None if search.algorithm is Algorithm.HYPERBAND else search.max_trials,
        epochs_trained=sum(len(trial.epochs) for trial in trials),
        epochs_saved=epochs_saved(state),
        started=min((trial.started for trial in trials if trial.started), default=None),
        ended=state.finished.at if state.finished else None,
        remaining_s=moment.remaining_s,
        best=row_of(state, best[0], best[0]) if best else None,
        dots=dots,
        steps=steps,
        curves=_curves(state, best),
        workers=_workers(moment),
        worker_counts={each: Counter(worker_states.values())[each] for each in WorkerState},
        images_per_s=round(
            sum(
                worker.images_per_s
                for worker in moment.workers
                if worker_states.get(worker.worker) is not WorkerState.SILENT
            ),
            1,
        ),
        rungs=_rungs(state),
        evaluation=moment.evaluation,
        evaluation_at=f"{bucket.rstrip('/')}/{names.evaluation(study.name)}",
        result=moment.result,
    )


def _history(state: StudyState) -> tuple[list[Scored], list[Scored]]:
    """Return dots and steps."""
    objective = state.objective
    whole: list[tuple[int, Trial]] = []
    stopped: list[tuple[int, Trial]] = []
    steps: list[tuple[int, Trial]] = []
    best = nan
    for ended, trial_id in enumerate(state.ended, 1):
        trial = state.trials[trial_id]
        if trial.score is None or trial.state not in SCORED or not trial.checkpoint:
            continue
        (stopped if trial.state is TrialState.STOPPED else whole).append((ended, trial))
        if objective.is_better(trial.score, best):
            best = trial.score
            steps.append((ended, trial))
    dots = [*downsample(whole, DOTS), *downsample(stopped, STOPPED_DOTS)]
    return [_scored(*dot) for dot in dots], [_scored(*step) for step in steps[-STEPS:]]


def _scored(ended: int, trial: Trial) -> Scored:
    stopped = trial.state is TrialState.STOPPED
    return Scored(ended=ended, score=json_values.number(trial.score) or 0.0, trial=trial.trial_id, stopped=stopped)


def _curves(state: StudyState, best: list[Trial]) -> list[LearningCurve]:
    """Return those of the best trials, and of some that run."""
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


def _workers(moment: LiveState) -> list[WorkerRow]:
    states = moment.worker_states or {}
    order = [WorkerState.SILENT, WorkerState.TRAINING, WorkerState.IDLE]
    ranked = sorted(moment.workers, key=lambda worker: (order.index(states[worker.worker]), worker.worker))
    rows = []
    for worker in ranked[:WORKER_ROWS]:
        trial = moment.state.trials.get(names.TrialId(worker.trial or ""))
        rows.append(
            WorkerRow(
                name=json_values.text(worker.worker),
                state=states[worker.worker],
                trial=trial.trial_id if trial else None,
                attempt=worker.attempt,
                epoch=worker.epoch + 1,
                epochs=epochs_of(moment.state, trial) if trial else None,
                progress=round(worker.progress, 3),
                images_per_s=round(worker.images_per_s, 1),
                silent_s=round(worker.silent_s, 1),
            )
        )
    return rows


def _rungs(state: StudyState) -> list[RungRow]:
    settings = state.settings.search.early_stopping
    rungs = []
    for rung, at in at_rungs(state.trials.values()).items():
        reached = sorted(at.values, key=state.objective.sort_key)
        epoch = epochs_at(settings, rung)
        # the one that comes counts, too; one that has come to its last epoch is not stopped there
        kept = kept_of(settings, rung, len(reached) + 1) if epoch < state.settings.training.epochs else 0
        rungs.append(
            RungRow(
                rung=rung,
                epoch=epoch,
                reached=len(reached),
                stopped=len(at.stopped),
                cut=json_values.number(reached[kept - 1]) if kept else None,
            )
        )
    return rungs
