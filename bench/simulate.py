"""Time until a search finds a good model, simulated on tables of recorded learning curves, against other programs.

This project's oracle, suggester and early stopping, and the real code of the other programs, search the same tables in
virtual time (`bench/simulation/`). The targets are the scores that the best 10, 3 and 1 % of a table's configurations
reach. A search that misses a target counts as the end of the budget, which is 40 whole trials in total, but at least 8
per worker. The tables were recorded by `bench/record_curves.py`.

The outcomes of single searches are kept in the folder --raw, so that a simulation that was ended can be continued.

usage: bench/simulate.py [--table NAME]… [--contender NAME]… [--seeds 100] [--workers N]… [--start-s S]… [--raw DIR]
A contender is a name of `bench/simulation/catalogue.py`, `ours`, or `ours` with settings: `ours:policy=none`.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from itertools import product
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from bench.simulation.catalogue import COMPETITORS, OURS, entry  # noqa: E402
from bench.simulation.contest import BUDGETS, LEAST_TRIALS, TARGETS, WHOLE_TRIALS  # noqa: E402
from bench.simulation.results import Ratio, Row, Setting, described, ratios, row_of, scores  # noqa: E402
from bench.simulation.table import EPOCH_S, TABLES, Table, load_table  # noqa: E402

WORKERS = (2, 8, 32)
STARTS_S = (0.0, 20.0)
TUNED_ON = ("seed", "digits")
"""Tables on which the defaults were chosen. They are confirmed on the others."""
Outcomes = dict[tuple[Setting, str], list[dict[str, Any]]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", action="append", help="default: all tables of --tables")
    parser.add_argument("--tables", type=Path, default=TABLES, help="folder of the tables")
    parser.add_argument("--contender", action="append", help="default: ours and all competitors")
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--workers", type=int, action="append")
    parser.add_argument("--start-s", type=float, action="append", help="seconds to start or resume a trial")
    parser.add_argument("--preemptions-per-hour", type=float, default=0.0, help="rate at which each worker is lost")
    parser.add_argument("--processes", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--raw", type=Path, default=ROOT / "build" / "simulation", help="folder of single outcomes")
    parser.add_argument("--json", type=Path, default=ROOT / "bench" / "results" / "simulate.json")
    arguments = parser.parse_args()
    names = arguments.table or sorted(path.stem for path in arguments.tables.glob("*.npz"))
    tables = {name: load_table(name, arguments.tables) for name in names}
    contenders = arguments.contender or [OURS, *(known.name for known in COMPETITORS)]
    settings = [
        Setting(table, workers, start_s, arguments.preemptions_per_hour)
        for table, workers, start_s in product(names, arguments.workers or WORKERS, arguments.start_s or STARTS_S)
    ]
    turns = [
        Turns(setting, contender, arguments.seeds, arguments.raw, arguments.tables)
        for setting in settings
        for contender in contenders
    ]
    with ThreadPoolExecutor(arguments.processes) as pool:
        outcomes = dict(
            zip(((turn.setting, turn.contender) for turn in turns), pool.map(Turns.run, turns), strict=True)
        )
    result = summary(tables, outcomes, arguments.seeds)
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    from bench.simulation.picture import best_so_far_png

    arguments.json.with_suffix(".png").write_bytes(best_so_far_png(tables, outcomes))
    show(result)


class Turns:
    """All searches of one contender in one setting, whose outcomes are lines of a file."""

    def __init__(self, setting: Setting, contender: str, seeds: int, raw: Path, tables: Path) -> None:
        self.setting = setting
        self.contender = contender
        self._seeds = seeds
        self._tables = tables
        name = f"{setting.workers}-{setting.start_s:g}-{setting.preemptions_per_hour:g}-{contender}"
        self._file = raw / setting.table / f"{name}.jsonl"

    def run(self) -> list[dict[str, Any]]:
        """Simulate the searches that are missing in the file, and return the outcomes of all."""
        known = self._known()
        if len(known) < self._seeds:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            self._file.write_text("".join(json.dumps(outcome) + "\n" for outcome in known), encoding="utf-8")
            with open(self._file, "a", encoding="utf-8") as stream:
                errors = self._file.with_suffix(".errors")
                with open(errors, "w", encoding="utf-8") as error_stream:
                    code = subprocess.run(
                        self._command(len(known)),
                        cwd=ROOT,
                        env=os.environ | {"OMP_NUM_THREADS": "1"},
                        stdout=stream,
                        stderr=error_stream,
                        check=False,
                    ).returncode
            if code:
                raise SystemExit(f"{self.contender} failed:\n{errors.read_text(encoding='utf-8')[-2000:]}")
            errors.unlink()
            print(f"{self.setting.table}, {self.setting.workers} workers: {self.contender}", flush=True)
        return self._known()[: self._seeds]

    def _known(self) -> list[dict[str, Any]]:
        if not self._file.exists():
            return []
        # the process may have been killed within a line
        lines = self._file.read_text(encoding="utf-8").rpartition("\n")[0].splitlines()
        return [json.loads(line) for line in lines]

    def _command(self, first_seed: int) -> list[str]:
        setting = self.setting
        own = entry(self.contender).own_environment
        python = str(ROOT / ".venv-bench" / "bin" / "python") if own else sys.executable
        values = (
            self.contender,
            setting.table,
            first_seed,
            self._seeds - first_seed,
            setting.workers,
            setting.start_s,
            setting.preemptions_per_hour,
            self._tables,
        )
        return [python, "-m", "bench.simulation.turns", *map(str, values)]


def summary(tables: dict[str, Table], outcomes: Outcomes, seeds: int) -> dict[str, Any]:
    """Return the content of the results file."""
    rows = [row_of(setting, contender, tables[setting.table], of) for (setting, contender), of in outcomes.items()]
    return {
        "seeds": seeds,
        "whole_trials": WHOLE_TRIALS,
        "least_trials": LEAST_TRIALS,
        "epoch_s": EPOCH_S,
        "targets": TARGETS,
        "budgets": BUDGETS,
        "tables": {
            name: {
                "configurations": len(table.grid),
                "epochs": table.epochs,
                "targets": [table.target(share) for share in TARGETS],
                "recorded_by": table.recorded_by,
            }
            for name, table in tables.items()
        },
        "absent": [known.label for known in COMPETITORS if known.name not in {row.contender for row in rows}],
        "scores": scored(rows),
        "rows": [described(row) for row in rows],
        "ratios": [_flat(ratio) for ratio in ratios(rows)],
    }


def scored(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """Return the scores on the tables for which the defaults were chosen, and on the others; the best first."""
    rows = list(rows)
    parts = {"tuned": [row for row in rows if row.setting.table in TUNED_ON]}
    parts["confirmed"] = [row for row in rows if row.setting.table not in TUNED_ON]
    columns = {
        f"{part}_{statistic}": scores(of, statistic) for part, of in parts.items() for statistic in ("median", "p90")
    }
    names = dict.fromkeys(name for column in columns.values() for name in column)
    described_ = [
        {"contender": name, "label": entry(name).label}
        | {column: round(of[name], 3) for column, of in columns.items() if name in of}
        for name in names
    ]
    return sorted(described_, key=lambda row: float(row.get("tuned_median", row.get("confirmed_median", 0.0))))


def _flat(ratio: Ratio) -> dict[str, Any]:
    values = asdict(ratio)
    setting = values.pop("setting")
    rounded = {key: round(values[key], 3) for key in ("ratio", "low", "high")}
    return {**setting, **values, **rounded, "label": entry(ratio.than).label, "is_reached": ratio.is_reached}


def show(result: dict[str, Any]) -> None:
    """Print the tables."""
    titles = [f"{share:.0%}" for share in result["targets"]]
    for key in dict.fromkeys(_setting(row) for row in result["rows"]):
        table, workers, start_s, rate = key
        print(f"\n{table}, {workers} workers, {start_s:g} s per start, {rate:g} preemptions per hour and worker")
        print(f"{'':44}" + "".join(f"{f'top {title}: median, p90, h':>28}" for title in titles) + "   trials, ms each")
        for row in (row for row in result["rows"] if _setting(row) == key):
            print(f"{row['contender'][:44]:44}" + "".join(_cell(target) for target in row["to_target_s"]), end="")
            print(f"{row['configurations']:9.0f}{row['decision_ms']:8.0f}")
    print(f"\n{'score (lower is better)':44}{'tuned':>10}{'p90':>8}{'confirmed':>11}{'p90':>8}")
    for row in result["scores"]:
        columns = ("tuned_median", "tuned_p90", "confirmed_median", "confirmed_p90")
        cells = [f"{row[column]:.2f}" if column in row else "-" for column in columns]
        print(f"{row['contender'][:44]:44}{cells[0]:>10}{cells[1]:>8}{cells[2]:>11}{cells[3]:>8}")


def _setting(row: dict[str, Any]) -> Sequence[Any]:
    return row["table"], row["workers"], row["start_s"], row["preemptions_per_hour"]


def _cell(target: dict[str, list[float]]) -> str:
    (median, low, high), (p90, *_) = ([value / 3600 for value in target[name]] for name in ("median", "p90"))
    return f"{f'{median:.2f} ({low:.2f}-{high:.2f}) {p90:.2f}':>28}"


if __name__ == "__main__":
    main()
