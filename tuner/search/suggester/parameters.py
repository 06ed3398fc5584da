"""A space's hyperparameters as parameters of Optuna.

A hyperparameter with steps, also with logarithmic ones, is an integer that counts the steps. One without steps is its
position from 0 to 1 as in Keras Tuner (`tuner.search.suggester.unit_interval`), which is linear in the logarithm if
the sampling is logarithmic. So Keras Tuner's own functions define the values, and they are always those of the space.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import nextafter
from typing import TYPE_CHECKING, Any

from tuner.search.suggester.unit_interval import is_fixed, value_at
from tuner.study.records import Value

if TYPE_CHECKING:
    import keras_tuner
    import optuna
    from keras_tuner.engine.hyperparameters import HyperParameter

ORDERED = 3
"""Number of values from which on their order matters."""
STEPS = 10_000
"""Number of steps from which on a number is treated as one without steps."""


@dataclass(frozen=True)
class Parameter:
    """A hyperparameter, and its values as numbers."""

    key: str
    """Name in Optuna. Unlike `name`, it is unique: Keras Tuner allows the same name under different conditions."""
    hyperparameter: "HyperParameter"
    choices: Sequence[Any] | None
    """All values, if the hyperparameter is an index into them; None if it is a position from 0 to 1."""

    @property
    def name(self) -> str:
        """Name of the hyperparameter."""
        name: str = self.hyperparameter.name
        return name

    @property
    def default(self) -> Value:
        """The hyperparameter's default, which is also the value of a fixed hyperparameter."""
        default: Value = self.hyperparameter.default
        return default

    @property
    def is_tunable(self) -> bool:
        """Whether the hyperparameter has more than one value."""
        return not is_fixed(self.hyperparameter) and (self.choices is None or len(self.choices) > 1)

    def is_active(self, values: Mapping[str, Value]) -> bool:
        """Return whether the hyperparameter's conditions are met."""
        return all(condition.is_active(values) for condition in self.hyperparameter.conditions)

    def distribution(self) -> "optuna.distributions.BaseDistribution":
        """Return the distribution of the numbers that stand for the values."""
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

        if self.choices is None:
            return FloatDistribution(0.0, nextafter(1.0, 0.0))
        if _is_ordered(self.choices):
            return IntDistribution(0, len(self.choices) - 1)
        return CategoricalDistribution(range(len(self.choices)))

    def value_of(self, internal: float) -> Value:
        """Return the value for which a number stands."""
        value: Value = value_at(self.hyperparameter, internal) if self.choices is None else self.choices[int(internal)]
        return value

    def internal_of(self, value: Value) -> float:
        """Return the number that stands for a value. A number between two steps is moved to the nearest one."""
        if self.choices is None:
            position = float(self.hyperparameter.value_to_prob(value))
            return min(max(position, 0.0), nextafter(1.0, 0.0))
        if value in self.choices or not isinstance(value, int | float):
            return self.choices.index(value)
        return min(range(len(self.choices)), key=lambda index: abs(self.choices[index] - value))  # type: ignore[index]


def parameters_of(hyperparameters: "keras_tuner.HyperParameters") -> list[Parameter]:
    """Return the parameters of a space, in its order."""
    return [
        Parameter(f"{position:04d} {hyperparameter.name}", hyperparameter, _choices(hyperparameter))
        for position, hyperparameter in enumerate(hyperparameters.space)
    ]


def _choices(hyperparameter: "HyperParameter") -> Sequence[Any] | None:
    import keras_tuner

    kinds = keras_tuner.engine.hyperparameters
    if isinstance(hyperparameter, kinds.Fixed):
        return [hyperparameter.default]
    if isinstance(hyperparameter, kinds.Int | kinds.Float):
        return steps(hyperparameter)
    return list(dict.fromkeys(hyperparameter.values))


def steps(hyperparameter: "HyperParameter") -> list[Any] | None:
    """Return the values of a number, with the types that Keras Tuner's random values have.

    None if the number has no steps, or too many.
    """
    count = hyperparameter._get_n_values() if hyperparameter.step is not None else STEPS + 1
    if count > STEPS:
        return None
    return list(dict.fromkeys(hyperparameter.prob_to_value((index + 0.5) / count) for index in range(count)))


def _is_ordered(choices: Sequence[Any]) -> bool:
    """Return whether the values are numbers in ascending or descending order, so that neighbours are similar."""
    if len(choices) < ORDERED or any(isinstance(value, bool | str) for value in choices):
        return False
    return list(choices) in (sorted(choices), sorted(choices, reverse=True))
