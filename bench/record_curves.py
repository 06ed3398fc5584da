"""Record the tables of learning curves on which `bench/simulate.py` simulates searches.

Each table is a complete grid: all its configurations are trained for 27 epochs, in one process that loads the data
once. A line is appended to the recording, `bench/recording/TABLE.jsonl`, after each configuration, so a recording that
was ended continues with the same command. When it is complete, it is written to bench/tables as a compressed file.
Seconds are processor seconds, which other processes on the machine hardly change.

- `digits`: multilayer perceptrons on 640 of scikit-learn's digits, 2,520 configurations.
- `seed`: the published space on 500 images of CIFAKE. `activation_2` is fixed to relu, and the other hyperparameters
  are restricted to 648 combinations.
- `deep`: residual networks on 500 images of CIFAKE, 160 configurations. `width` is fixed to 16, `blocks` to 1, `flip`
  to horizontal, `shift` to 2 and `label_smoothing` to 0.

The values of all hyperparameters are in `bench/recording/digits.py` and `bench/recording/images.py`. Needs JAX, and
CIFAKE beside the repository or in CIFAKE_DIR.

usage: KERAS_BACKEND=jax .venv-jax/bin/python bench/record_curves.py TABLE [--rows FILE] [--only N]
"""

import argparse
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from bench.recording.rows import Row, Rows  # noqa: E402
from bench.simulation.grid import Grid  # noqa: E402
from bench.simulation.table import TABLES, Recording, save_table  # noqa: E402

JAX_CACHE = {
    "JAX_COMPILATION_CACHE_DIR": str(ROOT / "build" / "recording" / "compiled"),
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
}
"""Most configurations differ from others in numbers only, so their programs are compiled once."""
COMMAND = "KERAS_BACKEND=jax .venv-jax/bin/python bench/record_curves.py"


@dataclass(frozen=True)
class Plan:
    """What is recorded for a table."""

    grid: Grid
    validation: int
    """Number of validation samples."""
    about: dict[str, Any]
    """Description of the data and of what is fixed, as JSON."""

    def record(self, table: str, done: set[int]) -> Iterator[list[Row]]:
        """Yield the rows that are not done."""
        from bench.recording import digits, images

        if table == "digits":
            return digits.record(done)
        return images.record(images.SEED_RECIPE if table == "seed" else images.DEEP_RECIPE, done)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", choices=("digits", "seed", "deep"))
    parser.add_argument("--rows", type=Path, help="file of the recording; default: bench/recording/TABLE.jsonl")
    parser.add_argument("--only", type=int, help="number of configurations to record now, to measure the time")
    arguments = parser.parse_args()
    os.environ |= JAX_CACHE
    table = arguments.table
    of = plan(table)
    about = {"table": table, "grid": of.grid.described(), **of.about}
    rows = Rows(arguments.rows or ROOT / "bench" / "recording" / f"{table}.jsonl", about)
    limit = arguments.only or len(of.grid)
    began, recorded = time.monotonic(), 0
    with rows.appending() as recording:
        for group in of.record(table, set(rows.rows)):
            for row in group:
                recording.add(row)
            recorded += len(group)
            each_s = (time.monotonic() - began) / recorded
            print(f"{table}: {len(rows.rows):,} of {len(of.grid):,}, {each_s:.2f} s each", flush=True)
            if recorded >= limit:
                break
    if len(rows.rows) == len(of.grid):
        path = TABLES / f"{table}.npz"
        save_table(path, of.grid, complete(rows), of.validation, f"{COMMAND} {table}: {of.about['on']}")
        print(f"wrote {path}, {path.stat().st_size:,} bytes")


def plan(table: str) -> Plan:
    """Return what is recorded for a table."""
    if table == "digits":
        from bench.recording import digits

        validation = 1797 - digits.TRAIN
        on = f"scikit-learn's digits, {digits.TRAIN} training and {validation} validation images"
        return Plan(digits.GRID, validation, {"on": on, "epochs": digits.EPOCHS})
    from bench.recording import images

    recipe = images.SEED_RECIPE if table == "seed" else images.DEEP_RECIPE
    on = f"CIFAKE, {recipe.train} training and {recipe.validation} validation images, batches of {recipe.batch_size}"
    return Plan(recipe.grid, recipe.validation, {"on": on, "epochs": recipe.epochs, "fixed": recipe.fixed})


def complete(rows: Rows) -> Recording:
    """Return the rows of a complete recording in the order of the grid."""
    ordered = [rows.rows[number] for number in range(len(rows.rows))]
    return Recording(
        [row.right for row in ordered], [row.seconds for row in ordered], [row.parameters for row in ordered]
    )


if __name__ == "__main__":
    main()
