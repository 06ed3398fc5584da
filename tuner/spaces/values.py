"""Check of `space.values` against the hyperparameters of a space, before the first trial."""

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from tuner.config.section import Value, Values
from tuner.errors import SpaceError

if TYPE_CHECKING:
    from keras_tuner.engine.hyperparameters import HyperParameter


def check_values(space: "Sequence[HyperParameter]", values: Mapping[str, Value | Values]) -> None:
    """Raise SpaceError if a value has another type than its hyperparameter, or is outside its range.

    A hyperparameter may occur several times, under different conditions. A value must be valid for one of them.
    """
    for name, chosen in values.items():
        for value in chosen if isinstance(chosen, list) else [chosen]:
            problems = [problem(hyperparameter, value) for hyperparameter in space if hyperparameter.name == name]
            if problems and all(problems):
                expected = " or ".join(dict.fromkeys(problems))
                raise SpaceError(f"space.values.{name}: must be {expected}, got {json.dumps(value):.100}.")


def problem(hyperparameter: "HyperParameter", value: Value) -> str:
    """Return what the value must be, or an empty text if it is valid."""
    import keras_tuner

    kinds = keras_tuner.engine.hyperparameters
    if isinstance(hyperparameter, kinds.Boolean):
        return "" if isinstance(value, bool) else "true or false"
    if isinstance(hyperparameter, kinds.Choice):
        known = list(hyperparameter.values)
        return "" if _is_one_of(value, known) else f"one of {json.dumps(known):.200}"
    if isinstance(hyperparameter, kinds.Int | kinds.Float):
        whole = isinstance(hyperparameter, kinds.Int)
        if _is_number(value, whole) and hyperparameter.min_value <= value <= hyperparameter.max_value:
            return ""
        noun = "a whole number" if whole else "a number"
        return f"{noun} from {hyperparameter.min_value} to {hyperparameter.max_value}"
    if isinstance(hyperparameter, kinds.Fixed):
        known = [hyperparameter.value]
        return "" if _is_one_of(value, known) else json.dumps(hyperparameter.value)
    return ""


def _is_number(value: Value, whole: bool) -> bool:
    return not isinstance(value, bool) and isinstance(value, int if whole else (int, float))


def _is_one_of(value: Value, known: Sequence[Value]) -> bool:
    """Return whether a choice has the value. Keras Tuner stores true and false as 1 and 0."""
    if isinstance(value, bool):
        return value in known and set(known) <= {0, 1}
    if isinstance(value, float) and all(isinstance(choice, int) for choice in known):
        return False  # layers do not accept 64.0 as a size
    return value in known
