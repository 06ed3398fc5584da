"""Fills the arguments of a user's `__init__` or `build_model` with the facts of the data set, by their names."""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from inspect import Parameter
from typing import Any

SHAPE_NAMES = ("image_shape", "input_shape")
"""Arguments that get the shape of the images. Keras Tuner's own HyperModels call it `input_shape`."""
CLASSES_NAMES = ("classes", "num_classes", "n_classes")
"""Arguments that get the number of classes. Keras Tuner's own HyperModels call it `classes`."""

FILLABLE = (
    f"{' or '.join(SHAPE_NAMES)} (height, width, channels), and {', '.join(CLASSES_NAMES[:-1])} or {CLASSES_NAMES[-1]} "
    "(number of classes)"
)
"""The arguments that can be filled, as messages and documents list them."""


@dataclass(frozen=True)
class DataFacts:
    """The facts of a data set that a space may need."""

    image_shape: tuple[int, int, int]
    """Height, width and channels."""
    classes: int

    def by_name(self) -> dict[str, Any]:
        """Return the value of each argument that can be filled."""
        return dict.fromkeys(SHAPE_NAMES, self.image_shape) | dict.fromkeys(CLASSES_NAMES, self.classes)


def parameters_of(function: Callable[..., object]) -> list[Parameter]:
    """Return the parameters of a function or class; none if Python does not know them."""
    try:
        return list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return []


def filled(parameters: Sequence[Parameter], facts: DataFacts | None) -> dict[str, Any]:
    """Return the keyword arguments that can be filled; none if there are no facts, because the space brings its data.

    An argument whose default is of another kind than the value, such as a tuple of names, keeps its default.

    Raises ValueError, which names the arguments, if a required argument cannot be filled.
    """
    known = facts.by_name() if facts else {}
    named = [
        parameter for parameter in parameters if parameter.kind not in (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
    ]
    unknown = [
        parameter.name
        for parameter in named
        if parameter.default is Parameter.empty
        and (parameter.name not in known or parameter.kind is Parameter.POSITIONAL_ONLY)
    ]
    if unknown:
        verb = "cannot" if len(unknown) > 1 else "which cannot"
        if facts is None:
            raise ValueError(
                f"it requires {', '.join(map(repr, unknown))}, {verb} be filled if the space brings its own data "
                "(data.own). Give every argument a default value"
            )
        raise ValueError(
            f"it requires {', '.join(map(repr, unknown))}, {verb} be filled. Arguments that can be filled are "
            f"{FILLABLE}. Give every other argument a default value"
        )
    return {
        parameter.name: known[parameter.name]
        for parameter in named
        if parameter.name in known and parameter.kind is not Parameter.POSITIONAL_ONLY and _accepts(parameter)
    }


def _accepts(parameter: Parameter) -> bool:
    """Return whether the value by this name is what the argument means, as far as its default shows that.

    For example, `classes=("cat", "dog")` wants names, not a number.
    """
    default = parameter.default
    if default is None or default is Parameter.empty:
        return True
    if parameter.name in SHAPE_NAMES:
        return isinstance(default, tuple) and all(_is_int(side) for side in default)
    return _is_int(default)


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
