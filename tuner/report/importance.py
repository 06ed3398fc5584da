"""Importance of each hyperparameter for the score of a trial, with its uncertainty.

A random forest learns the ranks of the trials' scores from their hyperparameters, on bootstrap samples of the trials.
The importance is the increase of its error on the other trials if the values of one hyperparameter are shuffled
(Breiman 2001, https://doi.org/10.1023/A:1010933404324). The interval is taken over the samples. Ranks are used because
a few trials that learnt nothing would otherwise dominate. A trial that was stopped early ranks behind those that
continued from its rung, because its score is of fewer epochs. The result describes this search and the values that it
tried.

Hyperband continues a good trial as a new trial. Of such trials with the same hyperparameters, only the one with the
most epochs counts, because otherwise they would be inside and outside a sample at the same time. Ranks are computed
within a bracket, because brackets start with different numbers of epochs.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tuner import names
from tuner.evaluation.scores import Interval
from tuner.study.objective import Objective
from tuner.study.records import TrialState, Value
from tuner.study.trial import SCORED, Trial

LEAST_TRIALS = 10
"""Minimum number of trials with a score."""
TRIALS_EACH = 2
"""Minimum number of trials per hyperparameter."""
MOST_TRIALS = 600
"""Maximum number of trials used. If there are more, they are chosen at random, since all would take long."""
DRAWS = 30
"""Number of bootstrap samples."""
TREES = 25
"""Number of trees of each forest."""
SHUFFLES = 3
"""Number of times that the values of a hyperparameter are shuffled for one sample."""

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Importance:
    """The share of the scores' variance that one hyperparameter explains."""

    hyperparameter: str
    share: float
    interval_95: Interval


@dataclass(frozen=True)
class Importances:
    """The importances of all hyperparameters, the greatest first."""

    of: tuple[Importance, ...]
    predicted_share: float
    """Share of the ranks' variance that the forest predicts for unseen trials; 0 if it predicts nothing."""

    trials: int
    """Number of trials used; with Hyperband, one per choice of hyperparameters."""


@dataclass(frozen=True)
class TooFew:
    """There are too few trials, or their hyperparameters vary too little, to compute importances."""

    reason: str


def importances(trials: Sequence[Trial], objective: Objective, seed: int) -> Importances | TooFew:
    """Return the importance of each hyperparameter that varies among the trials with a score."""
    scored = _furthest([trial for trial in trials if trial.state in SCORED and trial.score is not None])
    different = varied(scored)
    if not different:
        return TooFew("No hyperparameter has been tried with more than one value.")
    needed = max(LEAST_TRIALS, TRIALS_EACH * len(different))
    if len(scored) < needed:
        noun = "hyperparameter" if len(different) == 1 else "hyperparameters"
        return TooFew(
            f"{len(scored)} trials with a score are too few to say which of {len(different)} {noun} matter; "
            f"at least {needed} are needed."
        )
    generator = np.random.default_rng(seed)
    if len(scored) > MOST_TRIALS:
        scored = [scored[index] for index in sorted(generator.permutation(len(scored))[:MOST_TRIALS])]
    values = np.stack([_numbers([trial.hyperparameters.get(name) for trial in scored]) for name in different], axis=1)
    ranks = _ranks(scored, objective)
    if ranks.max() == ranks.min():
        return TooFew(
            f"All {len(scored)} trials are equally good, so none of {len(different)} hyperparameters made a difference."
        )
    drawn, predicted = _drawn(values, ranks, generator)
    rows = [
        Importance(name, float(column.mean()), (float(np.percentile(column, 2.5)), float(np.percentile(column, 97.5))))
        for name, column in zip(different, drawn.T, strict=True)
    ]
    return Importances(tuple(sorted(rows, key=lambda row: -row.share)), predicted, len(scored))


def _furthest(trials: Sequence[Trial]) -> list[Trial]:
    """Return the trials that no other trial continues."""
    continued = {str(trial.hyperparameters.get(names.HP_PARENT)) for trial in trials}
    return [trial for trial in trials if trial.trial_id not in continued]


def _ranks(trials: Sequence[Trial], objective: Objective) -> Numbers:
    """Return each trial's rank in its bracket, from 0 (worst) to 1 (best). Equal trials share a rank."""
    brackets: dict[Value | None, set[tuple[float, ...]]] = {}

    def merit(trial: Trial) -> tuple[float, ...]:
        trained = max(trial.rungs, default=0) if trial.state is TrialState.STOPPED else math.inf
        return float(trial.hyperparameters.get(names.HP_ROUND, 0)), trained, -objective.sort_key(trial.score or 0.0)

    merits = [(trial.hyperparameters.get(names.HP_BRACKET), merit(trial)) for trial in trials]
    for bracket, value in merits:
        brackets.setdefault(bracket, set()).add(value)
    places = {
        bracket: {value: place for place, value in enumerate(sorted(distinct))}
        for bracket, distinct in brackets.items()
    }
    return np.array([(places[bracket][value] + 0.5) / len(places[bracket]) for bracket, value in merits])


def varied(trials: Sequence[Trial]) -> list[str]:
    """Return the hyperparameters that vary among these trials, without Keras Tuner's own."""
    values: dict[str, set[Value | None]] = {}
    for trial in trials:
        for name in trial.hyperparameters:
            values.setdefault(name, set())
    for name, distinct in values.items():
        of_trials = (trial.hyperparameters.get(name) for trial in trials)
        # NaN is not equal to itself, so it would count as several values
        distinct.update("nan" if value != value else value for value in of_trials)  # noqa: PLR0124
    return [name for name, distinct in values.items() if len(distinct) > 1 and names.is_hyperparameter(name)]


def _numbers(values: Sequence[Value | None]) -> Numbers:
    """Return numbers that a tree can split: the place of each value in the order of the values, -1 if it is absent.

    A tree needs only the order, and a forest accepts neither infinite values nor values beyond float32.
    """
    place = {value: rank for rank, value in enumerate(in_order(values))}
    # NaN, which is not equal to itself, is not found in the order and comes last
    return np.array([-1.0 if value is None else float(place.get(value, len(place))) for value in values])


def in_order(values: Iterable[Value | None]) -> list[Value]:
    """Return the distinct values, without None and NaN: by size if all are numbers, else alphabetically."""
    distinct = {value for value in values if value is not None and value == value}  # noqa: PLR0124
    if all(isinstance(value, int | float) for value in distinct):
        return sorted(distinct)
    return sorted(distinct, key=str)


def _drawn(values: Numbers, scores: Numbers, generator: np.random.Generator) -> tuple[Numbers, float]:
    """Return the importances (draws, hyperparameters) and the share of the variance that is predicted."""
    from sklearn import config_context
    from sklearn.ensemble import RandomForestRegressor

    count = len(scores)
    rows: list[list[float]] = []
    predicted: list[float] = []
    while len(rows) < DRAWS:
        inside = generator.integers(count, size=count)
        outside = np.setdiff1d(np.arange(count), inside)
        variance = scores[outside].var() if len(outside) > 1 else 0.0
        if not variance:
            continue
        forest = RandomForestRegressor(
            TREES, min_samples_leaf=2, max_features=0.7, random_state=int(generator.integers(2**31))
        )
        # these values are finite, and checking that would take longer than fitting so few
        with config_context(assume_finite=True, skip_parameter_validation=True):
            forest.fit(values[inside], scores[inside])
            error, *shuffled_errors = _errors(forest, values[outside], scores[outside], generator)
        predicted.append(1 - error / variance)
        # halved because, if values are independent, a shuffle adds twice the variance that they explain
        rows.append([(shuffled_error - error) / variance / 2 for shuffled_error in shuffled_errors])
    return np.array(rows), max(0.0, float(np.mean(predicted)))


def _errors(forest: object, values: Numbers, scores: Numbers, generator: np.random.Generator) -> list[float]:
    """Return the mean squared error of the forest, followed by its errors with each of the columns shuffled.

    All values are predicted in one call, because its overhead is several times the time to predict so few rows.
    """
    count, columns = values.shape
    variants = np.stack([values] * (1 + columns * SHUFFLES))
    for number in range(columns * SHUFFLES):
        column = number // SHUFFLES
        variants[1 + number, :, column] = generator.permutation(variants[1 + number, :, column])
    predicted = forest.predict(variants.reshape(-1, columns)).reshape(-1, count)  # type: ignore[attr-defined]
    squared = ((predicted - scores) ** 2).mean(axis=1)
    return [float(squared[0]), *map(float, squared[1:].reshape(columns, SHUFFLES).mean(axis=1))]
