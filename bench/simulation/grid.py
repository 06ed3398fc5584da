"""A complete grid of hyperparameters: its dimensions, and the numbers of its configurations.

Configurations are numbered as in `itertools.product`, so the last dimension varies fastest.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import product
from math import prod
from typing import Any

Value = int | float | str


class Scale(StrEnum):
    """How the values of a dimension are related, which each search algorithm is informed of in its own terms."""

    LINEAR = "linear"  # numbers with equal differences
    LOG = "log"  # numbers with equal ratios
    ORDINAL = "ordinal"  # other numbers, in order
    CATEGORY = "category"  # without an order


@dataclass(frozen=True)
class Dimension:
    """One hyperparameter and its values."""

    name: str
    values: tuple[Value, ...]
    scale: Scale

    def position(self, value: Value) -> int:
        """Return the position of a value. A number matches the nearest one, because algorithms compute with floats."""
        if self.scale is Scale.CATEGORY:
            return self.values.index(value)
        return min(range(len(self.values)), key=lambda number: abs(float(self.values[number]) - float(value)))


@dataclass(frozen=True)
class Grid:
    """All combinations of the values of some dimensions."""

    dimensions: tuple[Dimension, ...]

    def __len__(self) -> int:
        return prod(len(dimension.values) for dimension in self.dimensions)

    def configurations(self) -> list[dict[str, Value]]:
        """Return all configurations in the order of their numbers."""
        names = [dimension.name for dimension in self.dimensions]
        return [
            dict(zip(names, values, strict=True))
            for values in product(*(dimension.values for dimension in self.dimensions))
        ]

    def number(self, configuration: Mapping[str, Any]) -> int:
        """Return the number of the configuration; other keys than those of the dimensions are ignored."""
        number = 0
        for dimension in self.dimensions:
            number = number * len(dimension.values) + dimension.position(configuration[dimension.name])
        return number

    def described(self) -> list[dict[str, Any]]:
        """Return the dimensions as JSON."""
        return [
            {"name": dimension.name, "values": list(dimension.values), "scale": str(dimension.scale)}
            for dimension in self.dimensions
        ]


def grid_of(described: list[dict[str, Any]]) -> Grid:
    """Return the grid that `Grid.described` has described."""
    return Grid(tuple(Dimension(row["name"], tuple(row["values"]), Scale(row["scale"])) for row in described))
