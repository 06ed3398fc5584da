"""A search space that is a function `build_model(hp)`, as in most code for Keras Tuner."""

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import keras_tuner


class FunctionSpace(keras_tuner.HyperModel):
    """A HyperModel whose `build` calls a user's function."""

    def __init__(self, function: Callable[..., Any], arguments: Mapping[str, Any]) -> None:
        """Wrap a function.

        Args:
            function: The function. Its first argument is the hyperparameters.
            arguments: Further arguments, by name.
        """
        super().__init__(name=getattr(function, "__name__", None))
        self.function = function
        self._arguments = dict(arguments)

    def build(self, hp: keras_tuner.HyperParameters) -> Any:
        """Return the model that the function builds."""
        return self.function(hp, **self._arguments)


def definition_of(space: keras_tuner.HyperModel) -> Any:
    """Return the function or class that defines a space, in which its source code can be found."""
    if isinstance(space, FunctionSpace):
        function = space.function
        while isinstance(function, functools.partial):
            function = function.func
        return function if inspect.isfunction(function) else type(function)
    return type(space)
