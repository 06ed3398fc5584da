"""What the runs of a study on an MLflow server contain. It depends on nothing but the state of the study."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from tuner.export.mlflow_names import mlflow_keys
from tuner.study.records import TrialState, first_line
from tuner.study.state import StudyState
from tuner.study.trial import SCORED, Trial

STUDY, TRIAL, STATE = "cifake_tune.study", "cifake_tune.trial", "cifake_tune.state"
"""Tags. The run of a study has no `TRIAL`."""
SCORE = "score"
"""Metric of a trial's score. MLflow's table shows the last value of a metric, and the last epoch is seldom the best."""
RUNNING, FINISHED, FAILED, SCHEDULED = "RUNNING", "FINISHED", "FAILED", "SCHEDULED"
"""States of MLflow's runs."""
STATUS = {
    TrialState.QUEUED: SCHEDULED,
    TrialState.PAUSED: SCHEDULED,
    TrialState.RUNNING: RUNNING,
    TrialState.COMPLETED: FINISHED,
    TrialState.STOPPED: FINISHED,
    TrialState.FAILED: FAILED,
}
TEXT_CHARACTERS = 5000
"""Maximum length of a value that all of MLflow's stores accept."""


@dataclass(frozen=True)
class Point:
    """A value of a metric, identified by everything but its value, which a store may round."""

    key: str
    step: int
    time_ms: int
    """Milliseconds since 1970."""
    value: float = field(compare=False)


@dataclass(frozen=True)
class Content:
    """What a run should contain."""

    name: str
    status: str
    started_ms: int
    ended_ms: int | None
    tags: dict[str, str]
    params: dict[str, str] = field(default_factory=dict)
    points: tuple[Point, ...] = ()


def study_content(state: StudyState) -> Content:
    """Return the content of the study's run."""
    finished, objective = state.finished, state.objective
    best = state.ranking()[:1]
    return Content(
        name=state.settings.name,
        status=RUNNING if finished is None else FAILED if finished.failed else FINISHED,
        started_ms=_ms(state.began or 0.0),
        ended_ms=None if finished is None else _ms(finished.at),
        tags={
            STUDY: state.settings.name,
            STATE: "unfinished" if finished is None else "gave up" if finished.failed else "finished",
            "cifake_tune.objective": f"{objective.name} ({objective.direction})"[:TEXT_CHARACTERS],
            "cifake_tune.best_trial": best[0].trial_id if best else "",
        },
        points=tuple(_improvements(state)),
    )


def _improvements(state: StudyState) -> Iterator[Point]:
    """Yield the best score so far, by the number of trials that were completed or stopped.

    Failed trials do not count, because they may be retried, and the steps that are on the server must not change.
    """
    best: float | None = None
    ended = (state.trials[trial_id] for trial_id in state.ended)
    scored = (trial for trial in ended if trial.state in SCORED and trial.repeats is None)
    for step, trial in enumerate(scored, start=1):
        if trial.score is None or trial.ended is None:
            continue
        if best is None or state.objective.is_better(trial.score, best):
            best = trial.score
            yield Point(SCORE, step, _ms(trial.ended), best)


def trial_content(trial: Trial) -> Content:
    """Return the content of the run of a trial that has started. Epochs are numbered from 1."""
    epochs = sorted(trial.epochs)
    metric_keys = mlflow_keys([SCORE, *dict.fromkeys(name for epoch in epochs for name in trial.epochs[epoch])])
    points = [
        Point(metric_keys[name], epoch + 1, _ms(trial.reported[epoch]), value)
        for epoch in epochs
        for name, value in trial.epochs[epoch].items()
    ]
    if trial.ended is not None and trial.score is not None and trial.best_epoch is not None:
        points.append(Point(SCORE, trial.best_epoch + 1, _ms(trial.ended), trial.score))
    param_keys = mlflow_keys(trial.chosen)
    repeats = {} if trial.repeats is None else {"cifake_tune.repeats": str(trial.repeats)}
    return Content(
        name=trial.trial_id,
        status=STATUS[trial.state],
        started_ms=_ms(trial.started or 0.0),
        ended_ms=None if trial.ended is None else _ms(trial.ended),
        tags={
            TRIAL: trial.trial_id,
            STATE: trial.state.value,
            "cifake_tune.attempts": str(trial.attempts),
            "cifake_tune.reason": first_line(trial.reason)[:TEXT_CHARACTERS],
            **repeats,
        },
        params={param_keys[name]: str(value)[:TEXT_CHARACTERS] for name, value in trial.chosen.items()},
        points=tuple(points),
    )


def content_version(trial: Trial) -> object:
    """Return a value that changes when `trial_content` does, in a fraction of its time."""
    return trial.state, trial.attempts, len(trial.epochs), max(trial.reported.values(), default=None), trial.reason


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
