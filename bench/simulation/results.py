"""The results of all simulated searches: times to the targets with their intervals, and the score of each contender."""

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from bench.simulation.catalogue import BARE, COMPETITORS, OURS, entry
from bench.simulation.contest import (
    BUDGETS,
    RESAMPLES,
    TARGETS,
    Estimate,
    budget_s,
    estimate,
    geometric_mean,
    median,
    p90,
)
from bench.simulation.table import Table

STATISTICS: dict[str, Callable[[Sequence[float]], float]] = {"median": median, "p90": p90}


@dataclass(frozen=True, order=True)
class Setting:
    """One setting of the simulation. Its contenders are compared with each other."""

    table: str
    workers: int
    start_s: float
    preemptions_per_hour: float = 0.0


@dataclass(frozen=True)
class Row:
    """The searches of one contender in one setting."""

    setting: Setting
    contender: str
    times_s: list[list[float]]
    """Seconds to each target, one per seed. A search that missed the target counts as the budget's end."""
    missed: list[int]
    """Number of searches that missed each target."""
    best: list[list[float]]
    """Best objective at each fixed budget, one per seed."""
    epochs: float
    configurations: float
    """Median number of different configurations that were trained."""
    decision_ms: float
    """Median of the processor milliseconds per started trial that the simulation took."""


def row_of(setting: Setting, contender: str, table: Table, outcomes: Sequence[Mapping[str, Any]]) -> Row:
    """Return the row of a contender's outcomes (`bench.simulation.turns.Outcome`)."""
    limit_s = budget_s(table, setting.workers)
    reached = [[outcome["reached_s"][number] for outcome in outcomes] for number in range(len(TARGETS))]
    return Row(
        setting,
        contender,
        times_s=[[limit_s if at is None else at for at in of] for of in reached],
        missed=[sum(at is None for at in of) for of in reached],
        best=[[outcome["best"][number] for outcome in outcomes] for number in range(len(BUDGETS))],
        epochs=median([outcome["epochs"] for outcome in outcomes]),
        configurations=median([outcome["configurations"] for outcome in outcomes]),
        decision_ms=median([1000 * outcome["cpu_s"] / max(1, outcome["starts"]) for outcome in outcomes]),
    )


def described(row: Row) -> dict[str, Any]:
    """Return a row as JSON."""
    return {
        **vars(row.setting),
        "contender": row.contender,
        "label": entry(row.contender).label,
        "to_target_s": [
            {name: _rounded(estimate(times, statistic), 1) for name, statistic in STATISTICS.items()}
            for times in row.times_s
        ],
        "missed": row.missed,
        "best": [_rounded(estimate(values, median), 4) for values in row.best],
        "epochs": row.epochs,
        "configurations": row.configurations,
        "decision_ms": round(row.decision_ms, 1),
    }


def _rounded(of: Estimate, digits: int) -> list[float]:
    return [round(value, digits) for value in (of.value, of.low, of.high)]


def scores(rows: Iterable[Row], statistic: str = "median") -> dict[str, float]:
    """Return each contender's score: the geometric mean of its time divided by the best competitor's.

    The mean is over settings and targets. A lower score is better. Contenders that lack a setting have no score.
    """
    rows = list(rows)
    compute, settings = STATISTICS[statistic], {row.setting for row in rows}
    best = _best_times(rows, compute)
    of: dict[str, list[float]] = {}
    for row in rows:
        for number, times in enumerate(row.times_s):
            if (row.setting, number) in best:
                of.setdefault(row.contender, []).append(compute(times) / best[row.setting, number])
    complete = len(settings) * len(TARGETS)
    return {name: geometric_mean(ratios) for name, ratios in of.items() if len(ratios) == complete}


def _best_times(rows: Iterable[Row], compute: Callable[[Sequence[float]], float]) -> dict[tuple[Setting, int], float]:
    """Return the best competitor's time to each target in each setting."""
    names = {known.name for known in COMPETITORS}
    best: dict[tuple[Setting, int], float] = {}
    for row in rows:
        if row.contender in names:
            for number, times in enumerate(row.times_s):
                key = (row.setting, number)
                best[key] = min(best.get(key, compute(times)), compute(times))
    return best


LEAST_FACTOR = 3
"""Factor by which this project must be faster than bare Keras Tuner."""


class Goal(StrEnum):
    """What the default configuration must reach at every target."""

    NOT_SLOWER = "not slower than any"  # than the fastest competitor, beyond the interval
    FASTER = "3 times as fast"  # as the fastest algorithm of bare Keras Tuner


@dataclass(frozen=True)
class Ratio:
    """The time of another program divided by this project's: above 1, this project is faster."""

    setting: Setting
    target: int
    statistic: str
    goal: Goal
    than: str
    """Name of the fastest contender of the goal's group."""
    ratio: float
    low: float
    high: float

    @property
    def is_reached(self) -> bool:
        """Whether the goal is reached."""
        return self.high >= 1 if self.goal is Goal.NOT_SLOWER else self.ratio >= LEAST_FACTOR


def ratios(rows: Iterable[Row], ours: str = OURS) -> list[Ratio]:
    """Return how much faster this project is than its best competitor, and than bare Keras Tuner's best algorithm."""
    rows = list(rows)
    found = []
    for mine in (row for row in rows if row.contender == ours):
        others = [row for row in rows if row.setting == mine.setting and row.contender != ours]
        groups = {Goal.NOT_SLOWER: {known.name for known in COMPETITORS}, Goal.FASTER: set(BARE)}
        for goal, group in groups.items():
            members = [row for row in others if row.contender in group]
            for number in range(len(TARGETS)):
                for name, compute in STATISTICS.items():
                    if members:
                        best = min(members, key=lambda row: compute(row.times_s[number]))
                        found.append(_ratio(mine, best, number, name, goal))
    return found


def _ratio(mine: Row, other: Row, number: int, statistic: str, goal: Goal) -> Ratio:
    compute, numbers = STATISTICS[statistic], random.Random(0)
    ours, theirs = mine.times_s[number], other.times_s[number]
    resampled = sorted(
        compute(numbers.choices(theirs, k=len(theirs))) / compute(numbers.choices(ours, k=len(ours)))
        for _ in range(RESAMPLES)
    )
    return Ratio(
        mine.setting,
        number,
        statistic,
        goal,
        other.contender,
        compute(theirs) / compute(ours),
        resampled[round(0.025 * RESAMPLES)],
        resampled[round(0.975 * RESAMPLES) - 1],
    )
