"""The search spaces: Keras Tuner HyperModels, built-in or a user's own."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from tuner.config.section import Value, Values
from tuner.errors import SpaceError
from tuner.spaces.loading import load_own_space, load_space, load_space_for
from tuner.spaces.values import check_values

if TYPE_CHECKING:
    import keras_tuner

__all__ = ["load_own_space", "load_space", "load_space_for", "narrow"]


def narrow(whole: "keras_tuner.HyperParameters", values: Mapping[str, Value | Values]) -> "keras_tuner.HyperParameters":
    """Return the hyperparameters, with those in `values` (the setting space.values) fixed or limited to a list.

    Raises SpaceError if the space has no such hyperparameter, or if a value has another type or is out of range.
    """
    import keras_tuner

    if unknown := set(values) - {hyperparameter.name for hyperparameter in whole.space}:
        known = ", ".join(dict.fromkeys(hyperparameter.name for hyperparameter in whole.space))
        raise SpaceError(f"space.values: the space has no hyperparameter {min(unknown)!r}. Use {known}.")
    check_values(whole.space, values)
    narrowed = keras_tuner.HyperParameters()
    kinds = keras_tuner.engine.hyperparameters
    for hyperparameter in whole.space:
        name, conditions = hyperparameter.name, hyperparameter.conditions
        if name in values:
            chosen = values[name]
            hyperparameter = (  # noqa: PLW2901
                kinds.Choice(name, chosen, ordered=False, conditions=conditions)
                if isinstance(chosen, list)
                else kinds.Fixed(name, chosen, conditions=conditions)
            )
        narrowed.merge([hyperparameter])
    return narrowed
