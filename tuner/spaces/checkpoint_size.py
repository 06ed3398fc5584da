"""The variables that a checkpoint of a model contains, and how many bytes their values take."""

import math
import re
from collections.abc import Iterable
from typing import Any


def checkpoint_variables(model: Any) -> list[Any]:
    """Return the variables of a built model and of its optimizer. A variable may be in the list more than once.

    The optimizer's variables, which Keras would create at the first training step, are created now.
    """
    optimizer = model.optimizer
    if optimizer is None:
        return list(model.variables)
    if not optimizer.built:
        optimizer.build(model.trainable_variables)
    return [*model.variables, *optimizer.variables]


def value_bytes(variables: Iterable[Any]) -> int:
    """Return how many bytes the values of the variables take, each of which is saved once."""
    return sum(map(_bytes, {id(variable): variable for variable in variables}.values()))


def _bytes(variable: Any) -> int:
    bits = re.search(r"\d+$", str(variable.dtype))
    return int(math.prod(variable.shape)) * (max(8, int(bits[0])) // 8 if bits else 1)
