"""Simulate one contender's searches in a process of its own environment, and print one line of JSON per search.

usage: python -m bench.simulation.turns CONTENDER TABLE FIRST_SEED SEEDS WORKERS START_S PREEMPTIONS_PER_HOUR
"""

import json
import os
import sys
import time
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from bench.simulation.catalogue import entry
from bench.simulation.clock import Cluster, simulate
from bench.simulation.contest import BUDGETS, TARGETS, budget_s
from bench.simulation.table import TABLES, Table, load_table


@dataclass(frozen=True)
class Outcome:
    """One simulated search."""

    seed: int
    reached_s: list[float | None]
    """Virtual seconds until each target was reached; None if it was not."""
    best: list[float]
    """Best objective at each of the fixed budgets."""
    improvements: list[tuple[float, float]]
    """Time and objective of each epoch that was better than all before it."""
    epochs: int
    starts: int
    configurations: int
    """Number of different configurations that were trained."""
    cpu_s: float
    """Processor seconds of the simulation, which are mostly the contender's decisions."""


def main() -> None:
    """Run the searches."""
    warnings.simplefilter("ignore")
    name, table_name, first, count, workers, start_s, rate, *folder = sys.argv[1:]
    table = load_table(table_name, Path(folder[0]) if folder else TABLES)
    cluster = Cluster(int(workers), float(start_s), float(rate))
    for seed in range(int(first), int(first) + int(count)):
        print(json.dumps(asdict(outcome(name, table, cluster, seed))), flush=True)


def outcome(name: str, table: Table, cluster: Cluster, seed: int) -> Outcome:
    """Return the outcome of one search.

    The search ends once it has reached the last target and the last of the fixed budgets, because nothing that happens
    later is reported.
    """
    began = time.process_time()
    limit_s = budget_s(table, cluster.workers)
    contender = entry(name).factory()(table, cluster.workers, seed)
    targets = [table.target(share) for share in TARGETS]
    run = simulate(table, contender, cluster, limit_s, seed, max(targets), max(BUDGETS) * limit_s)
    return Outcome(
        seed,
        [run.time_to(target) for target in targets],
        [run.best_at(share * limit_s) for share in BUDGETS],
        [(round(at, 1), round(value, 5)) for at, value in run.improvements],
        run.epochs,
        run.starts,
        len(run.trials),
        round(time.process_time() - began, 3),
    )


if __name__ == "__main__":
    main()
