"""The trials of the live page: as rows, sorted, filtered and paged, and one of them with all that is known of it."""

from collections.abc import Callable, Mapping
from enum import StrEnum
from itertools import islice
from math import isfinite
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from tuner import limits
from tuner.live_page import json_values
from tuner.study.progress import by_interest, downsample, epochs_of
from tuner.study.records import TrialState, Value
from tuner.study.state import StudyState, Trial

COLUMNS, LOOKED_AT = 24, 200
"""So many hyperparameters are columns at most, of so many trials; a trial's own page has all of its own."""
HYPERPARAMETER = "hp:"
"""Before a hyperparameter's name, where trials are sorted by its value."""
METRICS, POINTS = 12, 300
"""Of a single trial's curves."""


class Key(StrEnum):
    """What trials are sorted by, beside hyperparameters."""

    INTEREST = "interest"  # running, then the best, then the others
    TRIAL = "trial"
    STATE = "state"
    EPOCHS = "epochs"
    SCORE = "score"
    RUNG = "rung"
    SECONDS = "seconds"


class Wanted(BaseModel):
    """Which trials are asked for, as the query says it. Raises ValidationError."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    state: TrialState | None = None
    sort: Key | Annotated[str, Field(pattern=f"^{HYPERPARAMETER}", max_length=300)] = Key.INTEREST
    """A hyperparameter is its name after `hp:`."""
    down: bool = False
    """The largest first; what has no value comes last in any case."""
    offset: Annotated[int, Field(ge=0)] = 0
    limit: Annotated[int, Field(ge=1, le=200)] = 50


class TrialRow(BaseModel):
    """A trial in the table."""

    model_config = ConfigDict(frozen=True)

    trial: str
    state: TrialState
    best: bool
    attempts: int
    epochs: int
    epochs_planned: int
    score: float | None
    """Of one that runs: its best objective so far."""
    rung: int | None
    seconds: float | None
    """From its first attempt to its end; None before that."""
    started: float | None
    worker: str | None
    hyperparameters: dict[str, Value]
    reason: str


class Page(BaseModel):
    """Some of the trials."""

    model_config = ConfigDict(frozen=True)

    columns: list[str]
    """Names of hyperparameters."""
    matching: int
    """So many trials there are of the state that is asked for."""
    offset: int
    rows: list[TrialRow]


class OneTrial(BaseModel):
    """All that is known of a trial."""

    model_config = ConfigDict(frozen=True)

    row: TrialRow
    hyperparameters: dict[str, Value]
    """With those that Keras Tuner adds."""
    outcomes: dict[str, int]
    """How attempts ended that did not finish it."""
    ended: float | None
    best_epoch: int | None
    """From 1."""
    reason: str
    curves: dict[str, list[tuple[int, float | None]]]
    """Metrics by epoch, from 1."""


def page_of(state: StudyState, wanted: Wanted) -> Page:
    """Return a page of a study's trials; the last one where it asks for one after that."""
    trials = [trial for trial in by_interest(state) if wanted.state in (None, trial.state)]
    if wanted.sort != Key.INTEREST:
        trials = _sorted(trials, _key(state, wanted.sort), wanted.down)
    elif wanted.down:
        trials.reverse()
    last = max(0, len(trials) - 1) // wanted.limit * wanted.limit
    offset = min(wanted.offset, last)
    best = _best(state)
    rows = [row_of(state, trial, best) for trial in trials[offset : offset + wanted.limit]]
    return Page(columns=_columns(state), matching=len(trials), offset=offset, rows=rows)


def row_of(state: StudyState, trial: Trial, best: Trial | None) -> TrialRow:
    """Return a trial as a row; `best` is the study's best."""
    return TrialRow(
        trial=trial.trial_id,
        state=trial.state,
        best=trial is best,
        attempts=trial.attempts,
        epochs=max(trial.epochs, default=-1) + 1,
        epochs_planned=epochs_of(state, trial),
        score=json_values.number(_score(state, trial)),
        rung=max(trial.rungs, default=None),
        seconds=_seconds(trial),
        started=trial.started,
        worker=json_values.text(trial.worker) if trial.worker else None,
        hyperparameters=json_values.values(trial.chosen),
        reason=json_values.sentence(trial.reason),
    )


def one_trial(state: StudyState, trial: Trial) -> OneTrial:
    """Return all that is known of a trial."""
    metrics = sorted({name for epoch in trial.epochs.values() for name in epoch})
    first = state.settings.search.objective
    metrics.sort(key=lambda name: name != first)
    return OneTrial(
        row=row_of(state, trial, _best(state)),
        hyperparameters={
            json_values.text(key): json_values.text(value, json_values.LONG_CHARACTERS)
            if isinstance(value, str)
            else json_values.value(value)
            for key, value in trial.hyperparameters.items()
        },
        outcomes={outcome.value: count for outcome, count in trial.outcomes.items()},
        ended=trial.ended,
        best_epoch=None if trial.best_epoch is None else trial.best_epoch + 1,
        reason=json_values.text(trial.reason, limits.REASON_CHARACTERS),
        curves={name: downsample(curve(trial, name), POINTS) for name in metrics[:METRICS]},
    )


def curve(trial: Trial, metric: str) -> list[tuple[int, float | None]]:
    """Return a metric by epoch, from 1."""
    return [(epoch + 1, json_values.number(trial.epochs[epoch].get(metric))) for epoch in sorted(trial.epochs)]


def _best(state: StudyState) -> Trial | None:
    return next(iter(state.best()), None)


def _score(state: StudyState, trial: Trial) -> float | None:
    if trial.score is not None or trial.best_epoch is None:
        return trial.score
    return trial.epochs[trial.best_epoch].get(state.settings.search.objective)


def _seconds(trial: Trial) -> float | None:
    return None if trial.started is None or trial.ended is None else round(trial.ended - trial.started, 1)


def _columns(state: StudyState) -> list[str]:
    """Return the hyperparameters that the newest trials have: in a space with conditions not each has all."""
    found: dict[str, None] = {}
    for trial in islice(reversed(state.trials.values()), LOOKED_AT):
        found.update(dict.fromkeys(trial.chosen))
    return [json_values.text(name) for name in found][:COLUMNS]


Sortable = float | str | None


def _key(state: StudyState, sort: str) -> Callable[[Trial], Sortable]:
    if sort.startswith(HYPERPARAMETER):
        name = sort.removeprefix(HYPERPARAMETER)
        return lambda trial: trial.hyperparameters.get(name)
    keys: Mapping[str, Callable[[Trial], Sortable]] = {
        Key.TRIAL: lambda trial: trial.trial_id,
        Key.STATE: lambda trial: list(TrialState).index(trial.state),
        Key.EPOCHS: lambda trial: len(trial.epochs),
        Key.SCORE: lambda trial: _score(state, trial),
        Key.RUNG: lambda trial: max(trial.rungs, default=None),
        Key.SECONDS: _seconds,
    }
    return keys[sort]


def _sorted(trials: list[Trial], key: Callable[[Trial], Sortable], down: bool) -> list[Trial]:
    """Return them sorted: numbers, then texts; what has no value last."""
    keyed = [(key(trial), trial) for trial in trials]
    has = [(value, trial) for value, trial in keyed if value is not None and _is_ordered(value)]
    has_none = [trial for value, trial in keyed if value is None or not _is_ordered(value)]
    has.sort(key=lambda pair: (isinstance(pair[0], str), pair[0]), reverse=down)
    return [trial for _, trial in has] + has_none


def _is_ordered(value: float | str) -> bool:
    return isinstance(value, str) or isfinite(value)
