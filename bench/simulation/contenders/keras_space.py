"""A grid as a search space of Keras Tuner, as a user would write it."""

import keras_tuner

from bench.simulation.grid import Dimension, Grid, Scale


def keras_space(grid: Grid) -> keras_tuner.HyperParameters:
    """Return the hyperparameters. Numbers with equal differences or ratios are an Int or a Float with that step."""
    hyperparameters = keras_tuner.HyperParameters()
    for dimension in grid.dimensions:
        _add(hyperparameters, dimension)
    return hyperparameters


def _add(hp: keras_tuner.HyperParameters, dimension: Dimension) -> None:
    values = dimension.values
    if dimension.scale not in (Scale.LINEAR, Scale.LOG) or len(values) < 2:
        hp.Choice(dimension.name, list(values))
        return
    low, next_, high = (float(value) for value in (values[0], values[1], values[-1]))
    is_log = dimension.scale is Scale.LOG
    step, sampling = (next_ / low, "log") if is_log else (next_ - low, "linear")
    if all(isinstance(value, int) for value in values):
        hp.Int(dimension.name, int(low), int(high), step=round(step), sampling=sampling)
    else:
        # without the margin, rounding could exclude the last value
        hp.Float(dimension.name, low, high * (1 + 1e-9), step=step, sampling=sampling)
