"""The hyperparameters of a space, the number of their combinations, and the smallest and largest model."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import keras_tuner
from keras_tuner.engine import hyperparameters as kinds

from tuner.spaces.model_size import ModelSize, SpaceSize, parameters_with, space_size


@dataclass(frozen=True)
class SpaceSummary:
    """A space."""

    hyperparameters: dict[str, str]
    """The values of each hyperparameter as a text, by its name."""
    combinations: float
    """Number of configurations, infinite if a hyperparameter is continuous. Conditions may exclude some of them."""
    size: SpaceSize | None
    """None if the sizes are known only after the first batch of training."""
    smallest_parameters: int | None
    """Number of parameters with the smallest value of every hyperparameter that is a number; None if unknown."""


def summarize(space: keras_tuner.HyperModel, hyperparameters: keras_tuner.HyperParameters) -> SpaceSummary:
    """Return the summary of a space that has been explored and narrowed."""
    by_name = {hp.name: hp for hp in hyperparameters.space if not isinstance(hp, kinds.Fixed)}
    combinations = math.prod(_count(hp) for hp in by_name.values())
    size = space_size(space, hyperparameters)
    smallest = None
    if size is not None:
        values = {hp.name: _extreme(hp, min) for hp in hyperparameters.space}
        smallest = parameters_with(space, hyperparameters, values)
    return SpaceSummary({name: _text(hp) for name, hp in by_name.items()}, combinations, size, smallest)


def within(summary: SpaceSummary, limit: int | None) -> SpaceSummary:
    """Return the summary of a space whose models may have at most `limit` parameters (search.constraints).

    Which of them is the largest is unknown, so the largest model has the limit itself.
    """
    size = summary.size
    if limit is None or size is None or size.largest is None or size.largest.parameters <= limit:
        return summary
    checkpoint = size.largest.checkpoint
    value_bytes = checkpoint.value_bytes * limit // size.largest.parameters
    largest = ModelSize(limit, replace(checkpoint, value_bytes=value_bytes))
    return replace(summary, size=SpaceSize(size.default, largest))


def _values(hp: Any) -> Sequence[Any] | None:
    """Return all values of a hyperparameter; None if it is continuous."""
    if isinstance(hp, kinds.Boolean):
        return [False, True]
    if isinstance(hp, kinds.Choice):
        return list(hp.values)
    if isinstance(hp, kinds.Float) and hp.step is None:
        return None
    values: Sequence[Any] = list(hp.values)
    return values


def _count(hp: Any) -> float:
    values = _values(hp)
    return math.inf if values is None else len(values)


def _extreme(hp: Any, choose: Callable[[Any], Any]) -> Any:
    """Return the extreme number that a hyperparameter can be, or its default if its values are not numbers."""
    values = [hp.min_value, hp.max_value] if isinstance(hp, kinds.Float) else _values(hp) or []
    numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    return choose(numbers) if numbers else hp.default


def _text(hp: Any) -> str:
    if isinstance(hp, kinds.Int | kinds.Float):
        sampling = ", on a logarithmic scale" if hp.sampling in ("log", "reverse_log") else ""
        step = f" in steps of {hp.step:g}" if hp.step is not None and hp.sampling == "linear" else ""
        return f"{hp.min_value:g} to {hp.max_value:g}{step}{sampling}"
    return ", ".join(str(value) for value in _values(hp) or [])
