"""Tables of recorded learning curves: the objective of each configuration of a grid after each epoch.

A table is one compressed .npz file in bench/tables, written by `bench/record_curves.py`. It contains the number of
correctly classified validation samples as uint16, so that no accuracy is rounded, the seconds per epoch as float32, and
the number of parameters.
"""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.simulation.grid import Grid, grid_of

TABLES = Path(__file__).resolve().parents[1] / "tables"
EPOCH_S = 30.0
"""Seconds per epoch of the median configuration in a simulation. The recorded networks are small, and their epochs take
milliseconds. Compared with these, each start of a trial would cost hundreds of epochs, as in no real search. Only the
ratios between configurations are taken from the recording."""


@dataclass(frozen=True, eq=False)
class Table:
    """Learning curves of all configurations of a grid. A larger objective is better."""

    name: str
    grid: Grid
    curves: NDArray[np.float64]
    """Objective of shape (configurations, epochs)."""
    seconds: NDArray[np.float64]
    """Seconds per epoch of each configuration."""
    parameters: NDArray[np.int64]
    """Number of parameters of each configuration."""
    recorded_by: str = ""
    """The command that recorded the table, and on what."""

    @property
    def epochs(self) -> int:
        """Number of epochs of a whole trial."""
        return int(self.curves.shape[1])

    @cached_property
    def scores(self) -> NDArray[np.float64]:
        """Score of each configuration, which is its best objective as in a trial."""
        best: NDArray[np.float64] = self.curves.max(axis=1)
        return best

    @cached_property
    def scaled_s(self) -> NDArray[np.float64]:
        """Seconds per epoch of each configuration in a simulation."""
        return self.seconds * (EPOCH_S / float(np.median(self.seconds)))

    @property
    def whole_trial_s(self) -> float:
        """Mean seconds of a whole trial in a simulation, without its start."""
        return float(self.scaled_s.mean()) * self.epochs

    def target(self, share: float) -> float:
        """Return the score that the best `share` of the configurations reach."""
        ranked = np.sort(self.scores)[::-1]
        return float(ranked[max(1, round(share * len(ranked))) - 1])


def load_table(name: str, folder: Path = TABLES) -> Table:
    """Return the table with this name."""
    with np.load(folder / f"{name}.npz", allow_pickle=False) as stored:
        about = json.loads(str(stored["about"]))
        return Table(
            name,
            grid_of(about["grid"]),
            stored["right"].astype(np.float64) / about["validation"],
            stored["seconds"].astype(np.float64),
            stored["parameters"].astype(np.int64),
            about["recorded_by"],
        )


def save_table(path: Path, grid: Grid, rows: "Recording", validation: int, recorded_by: str) -> None:
    """Write a table. `validation` is the number of validation samples, of which the curves count the correct ones."""
    about = {"grid": grid.described(), "validation": validation, "recorded_by": recorded_by}
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(
        path,
        about=np.array(json.dumps(about)),
        right=np.array(rows.right, np.uint16),
        seconds=np.array(rows.seconds, np.float32),
        parameters=np.array(rows.parameters, np.uint32),
    )


@dataclass(frozen=True)
class Recording:
    """What was recorded, in the order of the configurations' numbers."""

    right: list[list[int]]
    seconds: list[float]
    parameters: list[int]
