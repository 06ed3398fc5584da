"""A training task, and the listener that receives its progress."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

import keras
import keras_tuner

from tuner.names import TrialId
from tuner.study.objective import Objective
from tuner.training.distribution import Devices

_DEFAULT_OBJECTIVE = Objective("val_accuracy")


@dataclass(frozen=True)
class Task:
    """A training task. Epochs count from 0."""

    hyperparameters: keras_tuner.HyperParameters
    seed: int
    batch_size: int
    epochs: int
    first_epoch: int = 0
    model_file: Path | None = None
    """Checkpoint (weights and optimizer) of the epoch before `first_epoch`."""
    patience: int | None = None
    objective: Objective = _DEFAULT_OBJECTIVE
    objective_is_set: bool = True
    """Whether the user chose the objective, so that a number that `fit` returns is known to be its value."""
    history: Mapping[int, Mapping[str, float]] = field(default_factory=dict)
    """Metrics of the epochs before `first_epoch`."""
    devices: Devices = "auto"
    """Number of devices to train on. A checkpoint can be resumed on any number."""
    trial_id: TrialId | None = None
    """Id of the trial, which a user's script may put into names of files."""

    def resumed(self, first_epoch: int, model_file: Path | None, history: Mapping[int, Mapping[str, float]]) -> "Task":
        """Return the task that resumes from a checkpoint."""
        return replace(self, first_epoch=first_epoch, model_file=model_file, history=history)

    @property
    def objectives(self) -> dict[int, float]:
        """Objective of the epochs before `first_epoch`."""
        return {epoch: metrics[self.objective.name] for epoch, metrics in self.history.items()}

    @property
    def is_trained(self) -> bool:
        """Whether no epoch is left to train."""
        return self.first_epoch >= self.epochs or self.out_of_patience(self.objectives)

    def out_of_patience(self, history: Mapping[int, float]) -> bool:
        """Return whether `patience` epochs have passed since the best one, or since the first if none is finite."""
        if self.patience is None or not history:
            return False
        best = self.objective.best(history)
        return max(history) - (min(history) if best is None else best) >= self.patience


class Listener(Protocol):
    """Receives the progress of training, and may end it."""

    def check(self) -> None:
        """Called after every batch. An exception ends training at once."""

    def progress(self, epoch: int, share: float, images_per_s: float) -> None:
        """Called a few times per second during an epoch."""

    def epoch_done(
        self, epoch: int, metrics: dict[str, float], model: keras.Model, returned: bool = False, named: bool = False
    ) -> None:
        """Called after each epoch. An exception ends training at once.

        Args:
            epoch: Number of the epoch.
            metrics: Its metrics.
            model: The model after it.
            returned: Whether `fit` returned the metrics.
            named: Whether it returned them by name, in a dict, rather than a number or a list.
        """


def metrics_line(metrics: Mapping[str, float], order: Sequence[str] = ()) -> str:
    """Return metrics as readable text, with those of `order` first."""
    keys = [key for key in order if key in metrics] + sorted(key for key in metrics if key not in order)
    return "  ".join(f"{key} {metrics[key]:z.4f}" for key in keys)
