"""The configurations that search.first names, checked and completed with the defaults of the space."""

import difflib
import json
from collections.abc import Mapping, Sequence
from math import isclose
from typing import TYPE_CHECKING, Any

from tuner.config.section import Value
from tuner.config.settings import Point
from tuner.errors import SpaceError
from tuner.spaces.exploration import activate
from tuner.spaces.values import problem

if TYPE_CHECKING:
    import keras_tuner
    from keras_tuner.engine.hyperparameters import HyperParameter


def first_points(hyperparameters: "keras_tuner.HyperParameters", points: Sequence[Point]) -> list[dict[str, Value]]:
    """Return the complete configurations that the points of search.first name.

    Raises SpaceError if a hyperparameter is unknown or inactive, or if a value is outside the space. The space is
    already narrowed by space.values.
    """
    return [
        completed_point(hyperparameters, {} if point == "default" else dict(point), f"search.first[{number}]")
        for number, point in enumerate(points)
    ]


def completed_point(
    hyperparameters: "keras_tuner.HyperParameters", values: Mapping[str, Value], where: str
) -> dict[str, Value]:
    """Return the configuration with these values, and the defaults of all other hyperparameters.

    Raises SpaceError, whose message begins with `where`, in the cases of `first_points`.
    """
    _check_names(hyperparameters, values, where)
    checked = {name: _checked(hyperparameters.space, name, value, where) for name, value in values.items()}
    completed = hyperparameters.copy()
    completed.values = dict(checked)
    activate(completed)
    for name in checked:
        if name not in completed.values:
            conditions = [hp.conditions for hp in hyperparameters.space if hp.name == name]
            needed = " or ".join(
                " and ".join(f"{condition.name} is {_listed(condition.values)}" for condition in scope)
                for scope in conditions
            )
            raise SpaceError(f"{where}.{name}: has no effect, because it is used only if {needed}. Set that too.")
    return dict(completed.values)


def _check_names(hyperparameters: "keras_tuner.HyperParameters", values: Mapping[str, Any], where: str) -> None:
    known = list(dict.fromkeys(hyperparameter.name for hyperparameter in hyperparameters.space))
    for name in values:
        if name in known:
            continue
        nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        hint = f"Did you mean {nearest[0]!r}?" if nearest else f"Use {', '.join(known)}."
        raise SpaceError(f"{where}: the space has no hyperparameter {name!r}. {hint}")


def _checked(space: "Sequence[HyperParameter]", name: str, value: Value, where: str) -> Value:
    """Return a value with the type that the space gives it. Raises SpaceError if it is outside the space."""
    problems = []
    for hyperparameter in space:
        if hyperparameter.name != name:
            continue
        wrong = problem(hyperparameter, value) or _off_step(hyperparameter, value)
        if not wrong:
            return _typed(hyperparameter, value)
        problems.append(wrong)
    expected = " or ".join(dict.fromkeys(problems))
    raise SpaceError(f"{where}.{name}: must be {expected}, got {json.dumps(value):.100}.")


def _off_step(hyperparameter: "HyperParameter", value: Value) -> str:
    """Return what the value must be if it lies between two steps; otherwise an empty text."""
    import keras_tuner

    kinds = keras_tuner.engine.hyperparameters
    if not isinstance(hyperparameter, kinds.Int | kinds.Float) or hyperparameter.step in (None, 1):
        return ""
    nearest = _nearest_step(hyperparameter, value)
    if isclose(nearest, float(value), rel_tol=1e-6, abs_tol=1e-12):
        return ""
    return f"one of its steps, of which {nearest} is the nearest"


def _nearest_step(hyperparameter: "HyperParameter", value: Any) -> Any:
    count = hyperparameter._get_n_values()
    steps = [hyperparameter.prob_to_value((index + 0.5) / count) for index in range(count)]
    return min(steps, key=lambda step: abs(step - value))


def _typed(hyperparameter: "HyperParameter", value: Any) -> Value:
    """Return the value as the space itself would choose it, because duplicates are found by their text."""
    import keras_tuner

    kinds = keras_tuner.engine.hyperparameters
    typed: Value
    if isinstance(hyperparameter, kinds.Choice):
        typed = hyperparameter.values[list(hyperparameter.values).index(value)]
    elif isinstance(hyperparameter, kinds.Fixed):
        typed = hyperparameter.value
    elif isinstance(hyperparameter, kinds.Int | kinds.Float) and hyperparameter.step not in (None, 1):
        typed = _nearest_step(hyperparameter, value)
    elif isinstance(hyperparameter, kinds.Float):
        typed = float(value)
    else:
        typed = value
    return typed


def _listed(values: Sequence[Value]) -> str:
    return " or ".join(json.dumps(value) for value in values)
