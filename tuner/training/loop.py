"""Training of one trial: its batches, its seeds, and the calls to its listener after each batch and epoch."""

import contextlib
import inspect
import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import keras
import keras_tuner

from tuner import names
from tuner.data.arrays import TrainingData
from tuner.spaces.error_cause import cause_of
from tuner.spaces.fit_source import may_return
from tuner.spaces.own_data import OwnTrainingData
from tuner.spaces.own_methods import has_own_fit
from tuner.study.objective import Objective
from tuner.training.activities import Activities, Activity
from tuner.training.distribution import Devices, OwnStrategyError, distributed, even_batch_size, replicas_for
from tuner.training.faults import InvalidTrialError, SharedFaultError
from tuner.training.feed import Feed, image_feed
from tuner.training.fit_result import floats, histories, returned_metrics
from tuner.training.own_feed import own_feed
from tuner.training.seeding import seed_epoch
from tuner.training.untuned_input import untuned_input
from tuner.training.weight_averaging import AveragedWeights

log = logging.getLogger(__name__)

PROGRESS_S = 0.5
"""Seconds between two calls of `Listener.progress`."""
_DEFAULT_OBJECTIVE = Objective("val_accuracy")


class _FromScratchError(Exception):
    """A user's `fit` cannot resume, for the reason in the message."""


_WITHOUT_EPOCHS = (ArithmeticError, AttributeError, LookupError, NameError, TypeError, ValueError)
"""What a user's own training loop may raise if no epoch is left to train, because it assigns no variables then."""


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


def train(
    space: keras_tuner.HyperModel,
    task: Task,
    data: TrainingData | OwnTrainingData,
    listener: Listener,
    activities: Activities | None = None,
    prepared: Callable[[keras.Model], None] = lambda model: None,
) -> None:
    """Build the trial's model and train it to its last epoch, or until the listener raises.

    If no epoch is left to train, the space's own `fit` is called once more, for what it returns.

    Args:
        space: Search space that builds the model, and may override `fit`.
        task: Hyperparameters, seed and epochs.
        data: Training and validation images, or the space's own data.
        listener: Called after each batch and epoch.
        activities: Counts the time of training and input.
        prepared: Called with the model before its first epoch. An exception ends training.

    Raises:
        InvalidTrialError: The trial would fail again in the same way.
        Exception: Any exception of the listener or of the user's model.
    """
    activities = activities or Activities()
    try:
        with contextlib.suppress(OwnStrategyError):
            _fit(space, task, data, listener, activities, prepared)
            return
        _fit(space, replace(task, devices=1), data, listener, activities, prepared)
    except _FromScratchError as reason:
        log.warning("the space's fit() %s, so the trial starts again from epoch 0", reason)
        _fit(space, task.resumed(0, None, {}), data, listener, activities, prepared)


def _fit(
    space: keras_tuner.HyperModel,
    task: Task,
    data: TrainingData | OwnTrainingData,
    listener: Listener,
    activities: Activities,
    prepared: Callable[[keras.Model], None],
) -> None:
    keras.backend.clear_session()  # the previous trial must neither use memory nor change layer names
    replicas = _replicas(space, task, data)
    if replicas > 1:
        log.info("each batch of %d is divided among %d devices", task.batch_size, replicas)
    with distributed(replicas):
        _fit_distributed(space, task, data, listener, activities, prepared, replicas)


def _replicas(space: keras_tuner.HyperModel, task: Task, data: TrainingData | OwnTrainingData) -> int:
    """Return the number of devices to train on."""
    replicas = replicas_for(task.devices, task.batch_size)
    if replicas == 1 or keras.backend.backend() != "tensorflow":
        return replicas
    # TensorFlow computes wrong losses of batches that cannot be divided well, which only ours can
    validation = data.validation.count
    if has_own_fit(space) or validation is None or data.train.count is None:
        log.info("training uses one device, because the batches are the space's own")
        return 1
    return replicas if even_batch_size(validation, task.batch_size, replicas) else 1


def _fit_distributed(
    space: keras_tuner.HyperModel,
    task: Task,
    data: TrainingData | OwnTrainingData,
    listener: Listener,
    activities: Activities,
    prepared: Callable[[keras.Model], None],
    replicas: int,
) -> None:
    parts = replicas if keras.backend.backend() == "tensorflow" else 1
    feed = (
        own_feed(data, task.batch_size, activities, task.seed, parts)
        if isinstance(data, OwnTrainingData)
        else image_feed(data, task.batch_size, activities, task.seed, parts)
    )
    feed.begin(task.first_epoch)  # Keras may read the first batches before the first epoch begins
    keras.utils.set_random_seed(task.seed)
    hyperparameters = task.hyperparameters.copy()
    hyperparameters.values[names.HP_EPOCHS] = task.epochs
    if feed.steps is not None:
        hyperparameters.values[names.HP_STEPS] = feed.steps
    known = set(hyperparameters.values)
    model = space.build(hyperparameters)
    if not isinstance(model, keras.Model):
        raise SharedFaultError(f"build() must return a compiled keras.Model, got {type(model).__name__}.")
    _warn_about_unknown(hyperparameters, known)
    if task.model_file is not None:
        _restore(model, task.model_file, feed)
    prepared(model)
    own_fit = has_own_fit(space)
    may_be_returned = own_fit and may_return(type(space).fit, model, task.objective.name)
    callback = _ListenerCallback(task, listener, feed, may_be_returned)
    epochs = task.first_epoch if task.is_trained else task.epochs
    common = {"epochs": epochs, "initial_epoch": task.first_epoch, "callbacks": [callback]}
    if not own_fit:
        if getattr(model.optimizer, "use_ema", False):
            averaged = AveragedWeights(feed.inputs, feed.steps, in_model=task.model_file is not None)
            common["callbacks"] = [averaged, callback]
        # Keras would also shuffle the batches, with a random state that a resumed training does not have
        with activities.during(Activity.TRAIN), untuned_input(), feed.attached(model):
            model.fit(feed.train, validation_data=feed.validation, shuffle=False, verbose=0, **common)
        return
    if _requires_verbose(space.fit):
        common["verbose"] = 2  # a line per epoch
    try:
        with activities.during(Activity.TRAIN), untuned_input():
            result = space.fit(hyperparameters, model, *feed.own_fit.positional, **feed.own_fit.named, **common)
    except _WITHOUT_EPOCHS as error:
        if not task.is_trained:
            raise
        raise _FromScratchError(f"fails if no epoch is left to train ({cause_of(error)})") from error
    _warn_about_unknown(hyperparameters, known)
    _report_result(result, callback, task, listener, model)


def _requires_verbose(fit: Callable[..., Any]) -> bool:
    parameter = inspect.signature(fit).parameters.get("verbose")
    return parameter is not None and parameter.default is inspect.Parameter.empty


def _report_result(
    result: Any, callback: "_ListenerCallback", task: Task, listener: Listener, model: keras.Model
) -> None:
    """Report what a space's own `fit` returned, unless it adds nothing to the epochs that the callback has reported."""
    objective, last = task.objective.name, callback.last_metrics
    epoch = task.epochs - 1 if callback.last_epoch is None else callback.last_epoch
    if callback.reported and (result is None or isinstance(result, keras.callbacks.History)):
        return
    if isinstance(result, keras.callbacks.History):  # `fit` did not pass the callbacks on
        for metrics in (candidates := histories(result, task.objective)):
            _require_objective(objective, metrics, "the History that fit() returned has")
            try:
                listener.epoch_done(epoch, metrics, model)
            except InvalidTrialError:
                if metrics is candidates[-1]:
                    raise
            else:
                return
    if result is None and last:
        _require_objective(objective, last, "the model reports")
    returned = returned_metrics(result, task.objective, task.objective_is_set)
    if callback.reported and returned.get(objective) in (None, callback.best_objective()):
        return
    _require_objective(objective, returned, "fit() returned")
    listener.epoch_done(epoch, {**last, **returned}, model, True, named=isinstance(result, Mapping))


def _require_objective(objective: str, metrics: Mapping[str, float], which: str) -> None:
    if objective not in metrics:
        raise SharedFaultError(
            f"search.objective is {objective!r}, and {which} {', '.join(sorted(metrics))}. Choose one of these."
        )


def _warn_about_unknown(hyperparameters: keras_tuner.HyperParameters, known: set[str]) -> None:
    """Warn about hyperparameters that are not searched, and add them to `known`."""
    if unknown := hyperparameters.values.keys() - known:
        log.warning("hyperparameters that are not searched keep their defaults: %s", ", ".join(sorted(unknown)))
        known.update(unknown)


def _restore(model: keras.Model, file: Path, feed: Feed) -> None:
    if not model.built:
        model(next(iter(feed.inputs(1))))
    if model.optimizer is not None:
        model.optimizer.build(model.trainable_variables)
    model.load_weights(file)


class _ListenerCallback(keras.callbacks.Callback):
    """Calls the listener. Ends training if the loss is not finite or patience runs out."""

    def __init__(self, task: Task, listener: Listener, feed: Feed, may_be_returned: bool) -> None:
        super().__init__()
        self.reported = bool(task.history)
        """Whether the listener got an epoch, also in another process."""
        self.last_epoch: int | None = max(task.history, default=None)
        self.last_metrics = {} if self.last_epoch is None else dict(task.history[self.last_epoch])
        """Metrics of the last epoch, which lack the objective if only `fit` returns it."""
        self._may_be_returned = may_be_returned
        self._task = task
        self._listener = listener
        self._feed = feed
        self._objectives = task.objectives
        self._begun = False
        """Whether the first epoch of this process has begun."""
        self._lacks_epochs = bool(task.history)
        """Whether Keras's History lacks the epochs of other processes."""
        self._epoch: int | None = None
        self._began = 0.0
        self._progress_at = 0.0

    def set_params(self, params: dict[str, Any]) -> None:
        """Let Keras print a line per epoch, unless `fit` chose otherwise. A progress bar would fill the log."""
        if params.get("verbose") == "auto":
            params["verbose"] = 2  # Keras calls its own ProgbarLogger with the same dict after this callback
        super().set_params(params)

    def best_objective(self) -> float | None:
        """Return the best objective of the reported epochs; None if none is finite."""
        best = self._task.objective.best(self._objectives)
        return None if best is None else self._objectives[best]

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._check_first(epoch)
        self._complete_history()
        self._epoch = epoch
        self._feed.begin(epoch)
        seed_epoch(self.model, self._task.seed, epoch)
        self._began = self._progress_at = time.perf_counter()
        self._listener.progress(epoch, 0.0, 0.0)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self._listener.check()
        now = time.perf_counter()
        if now - self._progress_at < PROGRESS_S:
            return
        self._progress_at = now
        steps = (self.params or {}).get("steps") or self._feed.steps
        share = min((batch + 1) / steps, 1.0) if steps else 0.0
        samples_per_s = share * (self._feed.samples or 0) / max(now - self._began, 1e-9)
        self._listener.progress(self._epoch or 0, share, samples_per_s)

    def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
        self._listener.check()

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        self._check_first(epoch)  # a user's own training loop may call nothing else
        metrics = floats(logs or {})
        loss = metrics.get("loss", 0.0)
        if not math.isfinite(loss):
            raise InvalidTrialError(f"the loss became {loss} in epoch {epoch + 1}")
        objective = self._task.objective.name
        self.last_epoch, self.last_metrics = epoch, metrics
        if objective not in metrics and self._may_be_returned:
            return
        _require_objective(objective, metrics, "the model reports")
        self.reported = True
        self._objectives[epoch] = metrics[objective]
        self._listener.epoch_done(epoch, metrics, self.model)
        if self._task.out_of_patience(self._objectives):
            self.model.stop_training = True

    def on_train_end(self, logs: Any = None) -> None:
        self._complete_history()  # if no epoch was left to train

    def _check_first(self, epoch: int) -> None:
        if not self._begun and epoch < self._task.first_epoch:
            raise _FromScratchError("ignores initial_epoch")
        self._begun = True

    def _complete_history(self) -> None:
        """Add the epochs of other processes to Keras's History, from which `fit` may compute what it returns."""
        history = getattr(self.model, "history", None) if self._lacks_epochs else None
        if not isinstance(history, keras.callbacks.History):
            return
        self._lacks_epochs = False
        history.epoch = sorted(self._task.history)
        before = [self._task.history[epoch] for epoch in history.epoch]
        in_all = [name for name in before[-1] if all(name in metrics for metrics in before)]
        history.history = {name: [metrics[name] for metrics in before] for name in in_all}


def metrics_line(metrics: Mapping[str, float], order: Sequence[str] = ()) -> str:
    """Return metrics as readable text, with those of `order` first."""
    keys = [key for key in order if key in metrics] + sorted(key for key in metrics if key not in order)
    return "  ".join(f"{key} {metrics[key]:z.4f}" for key in keys)
