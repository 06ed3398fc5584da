"""The objective of a search: the metric by which epochs and trials are compared, and its direction."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf, isfinite
from typing import Literal


@dataclass(frozen=True)
class Objective:
    """A metric and its direction. Values that are not finite cannot be compared, and are worse than all finite ones.

    The chief, the workers and the reports all compare values with this class, so that they agree on the best epoch.
    """

    name: str
    direction: Literal["max", "min"] = "max"

    def sort_key(self, value: float) -> float:
        """Return a key that sorts the best value first and values that are not finite last."""
        if not isfinite(value):
            return inf
        return -value if self.direction == "max" else value

    def is_better(self, value: float, other: float) -> bool:
        """Return whether `value` is better than `other`. False if they are equally good."""
        return self.sort_key(value) < self.sort_key(other)

    def best(self, values: Mapping[int, float]) -> int | None:
        """Return the first epoch with the best value; None if no value is finite."""
        finite = [epoch for epoch, value in values.items() if isfinite(value)]
        return min(finite, key=lambda epoch: (self.sort_key(values[epoch]), epoch), default=None)
