"""The rules of a simulation: targets, budgets, and how contenders are compared."""

import math
import random
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench.simulation.table import Table

TARGETS = (0.10, 0.03, 0.01)
"""Shares of a table's configurations. A target is the score that the best ones of this share reach."""
WHOLE_TRIALS = 40
"""Budget of a search in whole trials of average length, shared by its workers."""
LEAST_TRIALS = 8
"""Budget of each worker in whole trials, however many workers there are."""
BUDGETS = (0.1, 0.25)
"""Shares of the budget after which the best score is reported. Searches last at least as long as the largest one."""
RESAMPLES = 1000


def budget_s(table: Table, workers: int) -> float:
    """Return the virtual seconds of a search."""
    return max(WHOLE_TRIALS / workers, LEAST_TRIALS) * table.whole_trial_s


@dataclass(frozen=True)
class Estimate:
    """A statistic of the searches with different seeds, and its 95 % bootstrap interval."""

    value: float
    low: float
    high: float


def estimate(times: Sequence[float], statistic: Callable[[Sequence[float]], float]) -> Estimate:
    """Return a statistic with its interval."""
    numbers = random.Random(0)
    resampled = sorted(statistic(numbers.choices(times, k=len(times))) for _ in range(RESAMPLES))
    return Estimate(statistic(times), resampled[round(0.025 * RESAMPLES)], resampled[round(0.975 * RESAMPLES) - 1])


def median(times: Sequence[float]) -> float:
    """Return the median."""
    return statistics.median(times)


def p90(times: Sequence[float]) -> float:
    """Return the time within which nine of ten searches reached the target."""
    return sorted(times)[math.ceil(0.9 * len(times)) - 1]


def geometric_mean(values: Sequence[float]) -> float:
    """Return the geometric mean of positive numbers."""
    return math.exp(statistics.fmean(math.log(value) for value in values))
