"""Small tables of learning curves, made by hand."""

import numpy as np

from bench.simulation.grid import Dimension, Grid, Scale
from bench.simulation.table import EPOCH_S, Table

EPOCHS = 9


def ten_configurations() -> Table:
    """Return ten configurations of which later ones are better, each epoch taking EPOCH_S."""
    grid = Grid(
        (
            Dimension("units", (8, 16, 32, 64, 128), Scale.LOG),
            Dimension("activation", ("relu", "tanh"), Scale.CATEGORY),
        )
    )
    best = np.linspace(0.5, 0.95, len(grid))
    curves = best[:, None] - 0.3 / np.arange(1, EPOCHS + 1)
    return Table("ten", grid, curves, np.ones(len(grid)), np.full(len(grid), 100))


def of_curves(*curves: list[float], seconds: list[float] | None = None) -> Table:
    """Return a table of configurations 0, 1, … with these curves. The median epoch takes EPOCH_S."""
    grid = Grid((Dimension("number", tuple(range(len(curves))), Scale.LINEAR),))
    each = np.array(seconds or [1.0] * len(curves))
    return Table("hand", grid, np.array(curves), each, np.full(len(curves), 100))


__all__ = ["EPOCHS", "EPOCH_S", "of_curves", "ten_configurations"]
