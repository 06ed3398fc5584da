"""Check of `space.values` against the hyperparameters of a space, before the first trial."""

import json
from typing import TYPE_CHECKING

from tuner.config.settings import Value, Values
from tuner.errors import SpaceError

if TYPE_CHECKING:
    from keras_tuner.engine.hyperparameters import HyperParameter


def check_values(hyperparameter: "HyperParameter", chosen: Value | Values) -> None:
    """Raise SpaceError if a value has another type than the hyperparameter, or is outside its range."""
    for value in chosen if isinstance(chosen, list) else [chosen]:
        if problem := _problem(hyperparameter, value):
            raise SpaceError(f"space.values.{hyperparameter.name}: must be {problem}, got {json.dumps(value):.100}.")


def _problem(hyperparameter: "HyperParameter", value: Value) -> str:
    """Return what the value must be, or an empty text if it is valid."""
    import keras_tuner

    kinds = keras_tuner.engine.hyperparameters
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if isinstance(hyperparameter, kinds.Boolean):
        return "" if isinstance(value, bool) else "true or false"
    if isinstance(hyperparameter, kinds.Choice):
        # in Python, True is equal to 1
        matches = (
            isinstance(known, bool) == isinstance(value, bool) for known in hyperparameter.values if known == value
        )
        return "" if any(matches) else f"one of {json.dumps(list(hyperparameter.values)):.200}"
    if isinstance(hyperparameter, kinds.Int | kinds.Float):
        whole = isinstance(hyperparameter, kinds.Int)
        within = is_number and hyperparameter.min_value <= value <= hyperparameter.max_value
        if within and not (whole and isinstance(value, float)):
            return ""
        noun = "a whole number" if whole else "a number"
        return f"{noun} from {hyperparameter.min_value} to {hyperparameter.max_value}"
    if isinstance(hyperparameter, kinds.Fixed):
        return "" if value == hyperparameter.value else json.dumps(hyperparameter.value)
    return ""
