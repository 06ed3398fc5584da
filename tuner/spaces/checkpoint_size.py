"""How large a checkpoint of a model is, estimated before one is written."""

import math
import re
from dataclasses import dataclass
from typing import Any

FILE_BYTES = 32 << 10
"""Upper estimate of the size of a .keras file's parts that depend on neither variables nor layers."""
LAYER_BYTES = 4 << 10
"""Upper estimate of what a layer adds to the file: its configuration, and its groups of HDF5."""
VARIABLE_BYTES = 512
"""Upper estimate of what HDF5 adds to the values of a variable."""


@dataclass(frozen=True)
class CheckpointSize:
    """Upper estimate of the size of a checkpoint."""

    value_bytes: int
    """Size of the values of all variables."""
    overhead_bytes: int
    """Size of everything else. For a small model, this is most of the file."""

    @property
    def total_bytes(self) -> int:
        """Size of the file."""
        return self.value_bytes + self.overhead_bytes


def checkpoint_size(model: Any) -> CheckpointSize | None:
    """Return the size of the model's checkpoint; None if the model is not built yet.

    The optimizer's variables, which Keras would create at the first training step, are created now.
    """
    if not getattr(model, "built", False):
        return None
    variables = {id(variable): variable for variable in _variables(model)}.values()
    layers = len(list(model._flatten_layers()))
    overhead = FILE_BYTES + LAYER_BYTES * layers + VARIABLE_BYTES * len(variables)
    return CheckpointSize(sum(map(_bytes, variables)), overhead)


def _variables(model: Any) -> list[Any]:
    """Return the variables of a built model and of its optimizer. A variable may be in the list more than once."""
    optimizer = getattr(model, "optimizer", None)  # a model that is not compiled has no such attribute
    if optimizer is None:
        return list(model.variables)
    if not optimizer.built:
        optimizer.build(model.trainable_variables)
    return [*model.variables, *optimizer.variables]


def _bytes(variable: Any) -> int:
    bits = re.search(r"\d+$", str(variable.dtype))
    return int(math.prod(variable.shape)) * (max(8, int(bits[0])) // 8 if bits else 1)
