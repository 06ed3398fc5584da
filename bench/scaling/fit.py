"""Growth of a cost with size: its slope between logarithms, and the size from which it grows steeply."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

STEEP = 0.5
"""Slope beyond the knee: a cost that grows faster than the square root of the size."""


@dataclass(frozen=True)
class Point:
    """A cost at one size; both must be above 0."""

    size: float
    cost: float


def slope(points: Sequence[Point]) -> float:
    """Return the power of the size that the cost is proportional to, by least squares; 0 if it is constant."""
    sizes, costs = [math.log(p.size) for p in points], [math.log(p.cost) for p in points]
    return _slope(sizes, costs)


def knee(points: Sequence[Point]) -> float | None:
    """Return the size from which the cost grows steeply up to the largest size; None if it does not."""
    knee_size = None
    for smaller, larger in pairwise(points):
        steep = slope([smaller, larger]) > STEEP
        knee_size = (knee_size or smaller.size) if steep else None
    return knee_size


def cost_per_unit(points: Sequence[Point]) -> float:
    """Return the cost of one more unit of size: the slope of a straight line, by least squares."""
    return _slope([p.size for p in points], [p.cost for p in points])


def _slope(xs: Sequence[float], ys: Sequence[float]) -> float:
    x, y = sum(xs) / len(xs), sum(ys) / len(ys)
    return sum((a - x) * (b - y) for a, b in zip(xs, ys, strict=True)) / sum((a - x) ** 2 for a in xs)
