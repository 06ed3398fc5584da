"""Hyperparameters as numbers from 0 to 1, as Keras Tuner maps them."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras_tuner
    from keras_tuner.engine.hyperparameters import HyperParameter


def tunable(hyperparameters: "keras_tuner.HyperParameters") -> "list[HyperParameter]":
    """Return the hyperparameters that are not fixed, in the order of the space."""
    return [hyperparameter for hyperparameter in hyperparameters.space if not is_fixed(hyperparameter)]


def is_fixed(hyperparameter: "HyperParameter") -> bool:
    """Return whether the hyperparameter has a single value by declaration, as with space.values."""
    import keras_tuner

    return isinstance(hyperparameter, keras_tuner.engine.hyperparameters.Fixed)


def value_at(hyperparameter: "HyperParameter", position: float) -> Any:
    """Return the value at a position from 0 to 1.

    Keras Tuner's positions end before 1. At 1, its logarithmic integers would be one above their maximum.
    """
    import keras_tuner

    value = hyperparameter.prob_to_value(float(position))
    if isinstance(hyperparameter, keras_tuner.engine.hyperparameters.Int):
        return min(value, hyperparameter.max_value)
    return value
