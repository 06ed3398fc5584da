"""Types of numbers that an evaluation may contain. Validation refuses NaN, infinities and impossible numbers."""

import math
from collections.abc import Callable
from typing import Annotated

from pydantic import AfterValidator

ROUNDING = 1e-9
"""Difference up to which two computed numbers count as equal."""


def is_same(one: float, other: float) -> bool:
    """Return whether two numbers differ by rounding only."""
    return math.isclose(one, other, rel_tol=ROUNDING, abs_tol=ROUNDING)


def _ordered(interval: tuple[float, float]) -> tuple[float, float]:
    low, high = interval
    if low > high and not is_same(low, high):
        raise ValueError(f"the lower end {low} must not be above the upper end {high}")
    return interval


def _within(low: float, high: float) -> Callable[[float], float]:
    def check(value: float) -> float:
        if not low - ROUNDING <= value <= high + ROUNDING:  # NaN is not
            raise ValueError(f"must be from {low:g} to {high:g}, got {value}")
        return value

    return check


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise ValueError(f"must be a finite number, got {value}")
    return value


def _not_negative(value: int | float) -> int | float:
    if value < 0:
        raise ValueError(f"must not be negative, got {value}")
    return value


Count = Annotated[int, AfterValidator(_not_negative)]
"""A number of things, or an index."""

Finite = Annotated[float, AfterValidator(_finite)]
"""Any finite number."""

Amount = Annotated[float, AfterValidator(_finite), AfterValidator(_not_negative)]
"""A finite number that is not negative."""

Share = Annotated[float, AfterValidator(_within(0, 1))]
"""An accuracy, a probability or another share."""

Change = Annotated[float, AfterValidator(_within(-1, 1))]
"""A difference of two shares."""

ShareInterval = Annotated[tuple[Share, Share], AfterValidator(_ordered)]
Range = Annotated[tuple[Finite, Finite], AfterValidator(_ordered)]
"""A (low, high) range of finite numbers."""
