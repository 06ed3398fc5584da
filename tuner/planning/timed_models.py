"""Times the training of sampled models on this machine, on a small part of the data."""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean

import keras
import keras_tuner
import numpy as np

from tuner.data.arrays import Arrays, TrainingData
from tuner.search.suggester.untried import REJECTIONS
from tuner.spaces.own_data import OwnPart, OwnTrainingData
from tuner.study.records import Value
from tuner.temporary_files import temporary_folder
from tuner.training.checkpoint import save_model
from tuner.training.loop import Task, train
from tuner.worker.model_check import ModelCheck

STEPS = 8
"""Number of whole batches of the timed part of the training data."""
VALIDATION_STEPS = 2
TIMED_S = 2.0
"""Seconds of training, after the first epoch, that are timed at least, because other work disturbs short times."""


@dataclass(frozen=True)
class TimedModel:
    """The speed of one model on this machine."""

    hyperparameters: dict[str, Value]
    parameters: int | None
    checkpoint_bytes: int
    start_s: float
    """Seconds that only the first epoch takes: building and compiling the model, and checking its checkpoint."""
    step_s: float
    """Seconds per training step."""
    epoch_s: float
    """Seconds per epoch of all data, with the validation and the checkpoint."""

    def trial_s(self, epochs: float) -> float:
        """Return the seconds of a trial with this number of epochs."""
        return self.start_s + epochs * self.epoch_s


@dataclass(frozen=True)
class Part:
    """A part of the data that is small enough to be timed."""

    data: TrainingData | OwnTrainingData
    steps: int
    """Number of training steps per epoch of the part."""
    all_steps: int
    """Number of training steps per epoch of all data."""
    validation_share: float
    """Size of all validation data, divided by that of the part."""


def timed_part(data: TrainingData | OwnTrainingData, batch_size: int) -> Part | None:
    """Return a part of the data; None if the space's own data is a pipeline, which cannot be divided.

    The part has a last batch of the same size as all data, because another size would be compiled separately.
    """
    if isinstance(data, TrainingData):
        train_count = _part_of(data.train.count, batch_size, STEPS)
        validation_count = _part_of(data.validation.count, batch_size, VALIDATION_STEPS)
        part: TrainingData | OwnTrainingData = TrainingData(
            _first(data.train, train_count), _first(data.validation, validation_count)
        )
        counts = data.train.count, data.validation.count
    else:
        if data.train.count is None or data.validation.count is None:
            return None
        train_count = _part_of(data.train.count, batch_size, STEPS)
        validation_count = _part_of(data.validation.count, batch_size, VALIDATION_STEPS)
        part = OwnTrainingData(_first_own(data.train, train_count), _first_own(data.validation, validation_count))
        counts = data.train.count, data.validation.count
    return Part(part, -(-train_count // batch_size), -(-counts[0] // batch_size), counts[1] / validation_count)


def _part_of(count: int, batch_size: int, steps: int) -> int:
    whole = steps * batch_size
    return count if count <= whole + batch_size else whole + count % batch_size


def _first(arrays: Arrays, count: int) -> Arrays:
    return Arrays(arrays.images[:count], arrays.labels[:count])


def _first_own(part: OwnPart, count: int) -> OwnPart:
    return replace(part, data=keras.tree.map_structure(lambda array: array[:count], part.data), count=count)


class _TimedEnoughError(Exception):
    """Ends a training that has been timed for TIMED_S, or until the time limit."""


class _Clock:
    """Receives the events of a training, and notes their times."""

    def __init__(self, steps: int, until: float) -> None:
        self._until = until
        self.epochs: list[float] = []
        """Times of the ends of the epochs."""
        self.validation_s: list[float] = []
        """Seconds from the last training batch of each epoch to its end."""
        self._steps = steps
        self._batches: list[float] = []
        """Times of the ends of the batches of the current epoch, also of the validation."""
        self.model: keras.Model | None = None
        self.metrics: dict[str, float] = {}

    def check(self) -> None:
        self._batches.append(time.perf_counter())
        if self._batches[-1] >= self._until and len(self._batches) > 1:
            raise _TimedEnoughError

    @property
    def first_step_s(self) -> float:
        """Seconds per training step of an epoch that may be unfinished, without its first step, which compiles."""
        trained = self._batches[: self._steps]
        return (trained[-1] - trained[0]) / (len(trained) - 1) if len(trained) > 1 else 0.0

    def prepared(self, model: keras.Model) -> None:
        """Note the model before its first epoch."""
        self.model = model

    def progress(self, epoch: int, share: float, images_per_s: float) -> None:
        if share == 0.0:
            self._batches = []

    def epoch_done(
        self, epoch: int, metrics: dict[str, float], model: keras.Model, returned: bool = False, named: bool = False
    ) -> None:
        self.epochs.append(time.perf_counter())
        trained = self._batches[: self._steps]
        self.validation_s.append(self.epochs[-1] - trained[-1] if trained else 0.0)
        self.model, self.metrics = model, metrics
        if len(self.epochs) > 1 and self.epochs[-1] - self.epochs[0] >= TIMED_S:
            raise _TimedEnoughError


@dataclass(frozen=True)
class ModelTimer:
    """Times models of one space on one part of the data."""

    space: keras_tuner.HyperModel
    task: Task
    """Task of any model of the space."""
    part: Part
    classes: int
    """Number of classes; 0 if the space brings its own data."""

    def time(self, hyperparameters: keras_tuner.HyperParameters, until: float = math.inf) -> TimedModel:
        """Train a model on the part. The first epoch also compiles it.

        Training ends early at the time `until` (time.perf_counter), but not before its second step. If no epoch is
        finished then, a step of validation is estimated to take a third of a training step, which also has a backward
        pass.

        Raises any exception of the user's model.
        """
        began, clock = time.perf_counter(), _Clock(self.part.steps, until)
        task = replace(self.task, hyperparameters=hyperparameters)
        with suppress(_TimedEnoughError):
            train(self.space, task, self.part.data, clock, prepared=clock.prepared)
        model = clock.model
        assert model is not None
        later = len(clock.epochs) - 1
        first_s = (clock.epochs[0] if clock.epochs else time.perf_counter()) - began
        if later > 0:
            usual_s = (clock.epochs[-1] - clock.epochs[0]) / later
            validation_s = fmean(clock.validation_s[1:])
            step_s = max(0.0, usual_s - validation_s) / self.part.steps
        elif later == 0 and time.perf_counter() < until:
            usual_s, validation_s = first_s, clock.validation_s[0]
            step_s = max(0.0, usual_s - validation_s) / self.part.steps
        else:
            step_s = clock.first_step_s or first_s / self.part.steps
            validation_s = clock.validation_s[0] if clock.validation_s else VALIDATION_STEPS * step_s / 3
            usual_s = self.part.steps * step_s + validation_s
        with temporary_folder() as folder:
            saving = time.perf_counter()
            save_model(model, file := Path(folder) / "model.keras")
            save_s = time.perf_counter() - saving
            checking = time.perf_counter()
            if clock.metrics:
                self._verify(file, clock)
            check_s = time.perf_counter() - checking
            checkpoint_bytes = file.stat().st_size
        return TimedModel(
            hyperparameters=dict(hyperparameters.values),
            parameters=int(model.count_params()) if model.built else None,
            checkpoint_bytes=checkpoint_bytes,
            start_s=max(0.0, first_s - usual_s) + check_s,
            step_s=step_s,
            epoch_s=self.part.all_steps * step_s + self.part.validation_share * validation_s + save_s,
        )

    def _verify(self, file: Path, clock: _Clock) -> None:
        """Check the saved model as a worker does after a trial's first epoch."""
        validation = self.part.data.validation
        if isinstance(validation, Arrays) and self.classes:
            check = ModelCheck(validation, self.classes, self.task.batch_size, self.task.objective.name)
            check.verify(file, clock.metrics, False, lambda: None)


def sampled(
    hyperparameters: keras_tuner.HyperParameters,
    count: int,
    seed: int,
    is_rejected: Callable[[Mapping[str, Value]], bool] | None = None,
) -> Iterator[keras_tuner.HyperParameters]:
    """Yield random configurations of a space, without repetitions and without those that a constraint rejects."""
    rng, seen, found = np.random.default_rng(seed), set(), 0
    for _ in range(20 * count + REJECTIONS):
        hp = hyperparameters.copy()
        hp.values.clear()
        for one in hp.space:
            if hp.is_active(one):
                hp.values[one.name] = one.random_sample(int(rng.integers(2**31)))
        key = repr(sorted(hp.values.items()))
        if key not in seen:
            seen.add(key)
            if is_rejected is not None and is_rejected(hp.values):
                continue
            found += 1
            yield hp
        if found == count:
            return
