"""All combinations of the values of a space's hyperparameters, one after the other."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tuner.search.suggester.parameters import STEPS, steps
from tuner.study.records import Value

if TYPE_CHECKING:
    from keras_tuner.engine.hyperparameters import HyperParameter


def combinations(space: "Sequence[HyperParameter]", random: np.random.RandomState) -> Iterator[dict[str, Value]]:
    """Yield the values of all active hyperparameters, for each combination of their values.

    A hyperparameter with infinitely many values has a new random value in each combination.
    """
    yield from _completed({}, space, random)


def _completed(
    values: dict[str, Value], space: "Sequence[HyperParameter]", random: np.random.RandomState
) -> Iterator[dict[str, Value]]:
    if not space:
        yield values
        return
    hyperparameter, *others = space
    if not all(condition.is_active(values) for condition in hyperparameter.conditions):
        yield from _completed(values, others, random)
        return
    finite = finite_values(hyperparameter)
    for value in finite if finite is not None else [hyperparameter.prob_to_value(random.random_sample())]:
        yield from _completed({**values, hyperparameter.name: value}, others, random)


def finite_values(hyperparameter: "HyperParameter") -> Sequence[Any] | None:
    """Return all values of a hyperparameter; None if there are infinitely or very many."""
    import keras_tuner

    kinds = keras_tuner.engine.hyperparameters
    if not isinstance(hyperparameter, kinds.Int | kinds.Float):
        return list(hyperparameter.values)
    if isinstance(hyperparameter, kinds.Int) and hyperparameter.step is None:  # logarithmic
        few = hyperparameter.max_value - hyperparameter.min_value < STEPS
        return range(hyperparameter.min_value, hyperparameter.max_value + 1) if few else None
    return steps(hyperparameter)
