"""The live page's table of trials (filtered, sorted and paged), and the details of a single trial."""

from collections.abc import Callable, Mapping
from enum import StrEnum
from itertools import islice
from math import isfinite
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from tuner import limits
from tuner.live_page import json_values
from tuner.study.progress import by_interest, downsample, epochs_planned
from tuner.study.records import TrialState, Value
from tuner.study.state import StudyState
from tuner.study.trial import Trial

COLUMNS = 24
"""Maximum number of hyperparameters in the table. A trial's details show all of them."""
COLUMN_TRIALS = 200
"""Number of newest trials whose hyperparameters become columns."""
HYPERPARAMETER = "hp:"
"""Prefix of a hyperparameter's name among the sort keys."""
METRICS, POINTS = 12, 300
"""Maximum number of curves in a trial's details, and of points per curve."""


class SortKey(StrEnum):
    """Sort keys, in addition to hyperparameters."""

    INTEREST = "interest"  # running, then the best, then the others
    TRIAL = "trial"
    STATE = "state"
    EPOCHS = "epochs"
    SCORE = "score"
    RUNG = "rung"
    SECONDS = "seconds"


class TrialQuery(BaseModel):
    """The trials to return, as the URL's query specifies them. Raises ValidationError if the query is invalid."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    state: TrialState | None = None
    sort: SortKey | Annotated[str, Field(pattern=f"^{HYPERPARAMETER}", max_length=300)] = SortKey.INTEREST
    """A hyperparameter is given as `hp:` and its name."""
    down: bool = False
    """Whether the largest value comes first. Trials without a value come last in both orders."""
    offset: Annotated[int, Field(ge=0)] = 0
    limit: Annotated[int, Field(ge=1, le=200)] = 50


class TrialRow(BaseModel):
    """A row of the table."""

    model_config = ConfigDict(frozen=True)

    trial: str
    state: TrialState
    best: bool
    attempts: int
    epochs: int
    epochs_planned: int | None
    """Number of epochs that it trains; None if a script trains more than is known."""
    score: float | None
    """For a running trial, its best objective so far."""
    rung: int | None
    repeats: str | None = None
    """The trial whose hyperparameters this one repeats with another seed (search.confirm)."""
    seconds: float | None
    """Seconds from the start of the trial's first attempt to its end; None until the trial ends."""
    started: float | None
    worker: str | None
    hyperparameters: dict[str, Value]
    reason: str


class TrialPage(BaseModel):
    """A page of the table."""

    model_config = ConfigDict(frozen=True)

    columns: list[str]
    """Names of the hyperparameters."""
    matching: int
    """Number of trials on all pages."""
    offset: int
    rows: list[TrialRow]


class TrialDetails(BaseModel):
    """The details of a trial."""

    model_config = ConfigDict(frozen=True)

    row: TrialRow
    hyperparameters: dict[str, Value]
    """All hyperparameters, including those that Keras Tuner adds."""
    outcomes: dict[str, int]
    """Number of attempts by outcome, without the one that finished the trial."""
    ended: float | None
    best_epoch: int | None
    """Best epoch, from 1."""
    reason: str
    curves: dict[str, list[tuple[int, float | None]]]
    """Metrics by epoch, from 1."""


def trial_page(state: StudyState, query: TrialQuery) -> TrialPage:
    """Return a page of a study's trials; the last page if the query's offset is beyond it."""
    trials = [trial for trial in by_interest(state) if query.state in (None, trial.state)]
    if query.sort != SortKey.INTEREST:
        trials = _sorted(trials, _key(state, query.sort), query.down)
    elif query.down:
        trials.reverse()
    last = max(0, len(trials) - 1) // query.limit * query.limit
    offset = min(query.offset, last)
    best = _best(state)
    rows = [trial_row(state, trial, best) for trial in trials[offset : offset + query.limit]]
    return TrialPage(columns=_columns(state), matching=len(trials), offset=offset, rows=rows)


def trial_row(state: StudyState, trial: Trial, best: Trial | None) -> TrialRow:
    """Return a trial's row. `best` is the study's best trial."""
    epochs = max(trial.epochs, default=-1) + 1
    return TrialRow(
        trial=trial.trial_id,
        state=trial.state,
        best=trial is best,
        attempts=trial.counted_attempts,
        epochs=epochs,
        epochs_planned=epochs_planned(state, trial, epochs),
        score=json_values.number(_score(state, trial)),
        rung=max(trial.rungs, default=None),
        repeats=trial.repeats,
        seconds=_seconds(trial),
        started=trial.started,
        worker=json_values.text(trial.worker) if trial.worker else None,
        hyperparameters=json_values.hyperparameters(trial.chosen),
        reason=json_values.sentence(trial.reason),
    )


def trial_details(state: StudyState, trial: Trial) -> TrialDetails:
    """Return a trial's details."""
    metrics = sorted({name for epoch in trial.epochs.values() for name in epoch})
    first = state.settings.search.objective
    metrics.sort(key=lambda name: name != first)
    return TrialDetails(
        row=trial_row(state, trial, _best(state)),
        hyperparameters={
            json_values.text(key): json_values.text(value, json_values.LONG_CHARACTERS)
            if isinstance(value, str)
            else json_values.hyperparameter(value)
            for key, value in trial.hyperparameters.items()
        },
        outcomes={outcome.value: count for outcome, count in trial.outcomes.items()},
        ended=trial.ended,
        best_epoch=None if trial.best_epoch is None else trial.best_epoch + 1,
        reason=json_values.text(trial.reason, limits.REASON_CHARACTERS),
        curves={json_values.text(name): downsample(curve(trial, name), POINTS) for name in metrics[:METRICS]},
    )


def curve(trial: Trial, metric: str) -> list[tuple[int, float | None]]:
    """Return the values of a metric by epoch, from 1."""
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
    """Return the hyperparameters of the newest trials, which may differ in a conditional space."""
    columns: dict[str, None] = {}
    for trial in islice(reversed(state.trials.values()), COLUMN_TRIALS):
        columns.update(dict.fromkeys(trial.chosen))
    return [json_values.text(name) for name in columns][:COLUMNS]


Sortable = float | str | None


def _key(state: StudyState, sort: str) -> Callable[[Trial], Sortable]:
    if sort.startswith(HYPERPARAMETER):
        name = sort.removeprefix(HYPERPARAMETER)
        if not any(name in trial.hyperparameters for trial in state.trials.values()):  # it was shown masked or cut
            keys_of = (trial.hyperparameters for trial in state.trials.values())
            name = next((key for keys in keys_of for key in keys if json_values.text(key) == name), name)
        return lambda trial: trial.hyperparameters.get(name)
    keys: Mapping[str, Callable[[Trial], Sortable]] = {
        SortKey.TRIAL: lambda trial: trial.trial_id,
        SortKey.STATE: lambda trial: list(TrialState).index(trial.state),
        SortKey.EPOCHS: lambda trial: len(trial.epochs),
        SortKey.SCORE: lambda trial: _score(state, trial),
        SortKey.RUNG: lambda trial: max(trial.rungs, default=None),
        SortKey.SECONDS: _seconds,
    }
    return keys[sort]


def _sorted(trials: list[Trial], key: Callable[[Trial], Sortable], down: bool) -> list[Trial]:
    """Return the trials sorted: first those with numbers, then those with texts, then those without a value."""
    keyed = [(key(trial), trial) for trial in trials]
    with_value = [(value, trial) for value, trial in keyed if value is not None and _is_ordered(value)]
    without_value = [trial for value, trial in keyed if value is None or not _is_ordered(value)]
    with_value.sort(key=lambda pair: (isinstance(pair[0], str), pair[0]), reverse=down)
    return [trial for _, trial in with_value] + without_value


def _is_ordered(value: float | str) -> bool:
    return isinstance(value, str) or isfinite(value)
