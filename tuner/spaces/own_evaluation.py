"""The evaluation of a space that brings its own data or its own `evaluate`: a dict of numbers."""

from collections.abc import Mapping
from typing import Any

import keras
import keras_tuner
import numpy as np

from tuner.errors import PreemptedError, SpaceError
from tuner.spaces.error_cause import cause_of
from tuner.spaces.own_data import OwnPart
from tuner.spaces.own_methods import has_own_evaluation

NAME_CHARACTERS = 200
_DICT = "Return a dict of numbers, such as {'mae': 0.3}"


def evaluate(space: keras_tuner.HyperModel, model: Any, part: OwnPart, batch_size: int) -> dict[str, float]:
    """Return what the space's `evaluate(model, data)` returns, or else the model's loss and metrics.

    Args:
        space: The space.
        model: A model that was saved and loaded again. It must be compiled if the space has no `evaluate`.
        part: The data.
        batch_size: Number of samples per step, if the data is arrays and the space has no `evaluate`.

    Raises:
        SpaceError: The evaluation failed, or returned something other than a dict of numbers.
    """
    own = has_own_evaluation(space)
    try:
        if own:
            returned = space.evaluate(model, part.data)
        else:
            arguments = part.data if part.is_arrays else (part.data,)
            named = dict(zip(("x", "y", "sample_weight"), arguments, strict=False))
            size = batch_size if part.is_arrays else None
            returned = model.evaluate(**named, batch_size=size, return_dict=True, verbose=0)
    except PreemptedError:
        raise
    except Exception as error:
        what = "the space's evaluate()" if own else "model.evaluate()"
        raise SpaceError(f"{what} fails ({cause_of(error)}). Fix it.") from error
    return _numbers(returned)


def require_compiled(space: keras_tuner.HyperModel, model: Any) -> None:
    """Raise SpaceError if a model that was loaded again has no loss and metrics, and the space no `evaluate`."""
    if not has_own_evaluation(space) and not model.compiled:
        raise SpaceError(
            "the saved model has no loss and metrics, so it cannot be evaluated. Compile it with Keras's own "
            "compile(), or give the space a method evaluate(self, model, test) that returns a dict of numbers."
        )


def _numbers(returned: Any) -> dict[str, float]:
    if not isinstance(returned, Mapping) or not returned:
        got = "an empty dict" if isinstance(returned, Mapping) else type(returned).__name__
        raise SpaceError(f"the space's evaluate() returned {got}. {_DICT}.")
    return {_name(name): _number(name, value) for name, value in returned.items()}


def _name(name: Any) -> str:
    if not isinstance(name, str) or not name.strip() or len(name) > NAME_CHARACTERS:
        raise SpaceError(f"the space's evaluate() returned the name {name!r:.60}. {_DICT}.")
    return name


def _number(name: str, value: Any) -> float:
    try:
        array = np.asarray(keras.ops.convert_to_numpy(value) if keras.ops.is_tensor(value) else value)
        if array.ndim == 0 and array.dtype.kind in "biuf":
            return float(array)
    except (TypeError, ValueError):
        pass
    raise SpaceError(f"the space's evaluate() returned {type(value).__name__} for {name!r:.60}. {_DICT}.")
