"""How a worker trains a trial and saves its model: with a space and the study's data, or with a user's script."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import keras
import keras_tuner

from tuner.data.arrays import TrainingData
from tuner.spaces.own_data import OwnTrainingData
from tuner.spaces.own_methods import has_own_fit
from tuner.training.activities import Activities
from tuner.training.checkpoint import save_model
from tuner.training.loop import train
from tuner.training.task import Listener, Task


class Trainer(Protocol):
    """Trains trials."""

    def train(
        self, task: Task, listener: Listener, activities: Activities, prepared: Callable[[keras.Model], None]
    ) -> None:
        """Build the trial's model, restore its checkpoint, and train it. See `tuner.training.loop.train`."""

    def save(self, model: keras.Model, file: Path) -> None:
        """Write the model to a file, which ends in .keras. Raises EnvironmentFailure and SharedFaultError."""

    def is_done(self, task: Task) -> bool:
        """Return whether nothing is left to do for a task."""


@dataclass(frozen=True)
class SpaceTrainer:
    """Trains the models of a space."""

    space: keras_tuner.HyperModel
    data: TrainingData | OwnTrainingData

    def train(
        self, task: Task, listener: Listener, activities: Activities, prepared: Callable[[keras.Model], None]
    ) -> None:
        """Train the trial on the data."""
        train(self.space, task, self.data, listener, activities, prepared)

    def save(self, model: keras.Model, file: Path) -> None:
        """Write the whole model."""
        save_model(model, file)

    def is_done(self, task: Task) -> bool:
        """Return whether no epoch is left, unless the space's own `fit` may return something afterwards."""
        return task.is_trained and not has_own_fit(self.space)
