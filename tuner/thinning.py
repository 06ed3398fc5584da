"""Few of many points, for pictures that would show no more."""

from collections.abc import Sequence
from typing import TypeVar

Point = TypeVar("Point")


def thinned(points: Sequence[Point], most: int) -> list[Point]:
    """Return so many of the points at most, evenly chosen, the first and last among them."""
    if len(points) <= most:
        return list(points)
    return [points[round(index * (len(points) - 1) / (most - 1))] for index in range(most)]
