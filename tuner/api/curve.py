"""The metrics of a trial by epoch, in a form that plots take."""

from dataclasses import dataclass
from math import nan

from tuner.study.trial import Trial


@dataclass(frozen=True)
class Curve:
    """The metrics of one trial. A trial that was interrupted has one curve over all its attempts."""

    epochs: tuple[int, ...]
    """Numbers of the reported epochs, from 1."""

    metrics: dict[str, tuple[float, ...]]
    """Values of each metric, one per epoch. NaN in epochs that did not report the metric."""


def curve_of(trial: Trial) -> Curve:
    """Return the curve of a trial."""
    epochs = sorted(trial.epochs)
    names = dict.fromkeys(name for epoch in epochs for name in trial.epochs[epoch])
    metrics = {name: tuple(trial.epochs[epoch].get(name, nan) for epoch in epochs) for name in names}
    return Curve(tuple(epoch + 1 for epoch in epochs), metrics)
