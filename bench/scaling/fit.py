"""How a cost grows with size: its slope between logarithms, and where it begins to grow steeply."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

STEEP = 0.5
"""A cost that grows faster than the square root of the size is past its knee."""


@dataclass(frozen=True)
class Point:
    """What something cost at one size; both above 0."""

    size: float
    cost: float


def slope(points: Sequence[Point]) -> float:
    """Return the power of the size that the cost goes with, by least squares: 0 where it stays, 1 where both double."""
    sizes, costs = [math.log(p.size) for p in points], [math.log(p.cost) for p in points]
    return _slope(sizes, costs)


def knee(points: Sequence[Point]) -> float | None:
    """Return the size from which on the cost grows steeply, to the last size measured; None where it does not."""
    found = None
    for before, after in pairwise(points):
        steep = slope([before, after]) > STEEP
        found = (found or before.size) if steep else None
    return found


def each(points: Sequence[Point]) -> float:
    """Return what one more unit of size costs: the slope of a straight line, by least squares."""
    return _slope([p.size for p in points], [p.cost for p in points])


def _slope(xs: Sequence[float], ys: Sequence[float]) -> float:
    x, y = sum(xs) / len(xs), sum(ys) / len(ys)
    return sum((a - x) * (b - y) for a, b in zip(xs, ys, strict=True)) / sum((a - x) ** 2 for a in xs)
