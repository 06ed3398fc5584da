"""Training of one trial: its model, its batches and its seeds."""

import contextlib
import inspect
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import keras_tuner

from tuner import names
from tuner.data.arrays import TrainingData
from tuner.spaces.error_cause import cause_of
from tuner.spaces.fit_source import may_return
from tuner.spaces.own_data import OwnTrainingData
from tuner.spaces.own_methods import has_own_fit
from tuner.training import checkpoint
from tuner.training.activities import Activities, Activity
from tuner.training.distribution import OwnStrategyError, distributed, even_batch_size, replicas_for
from tuner.training.faults import SharedFaultError
from tuner.training.feed import Feed, image_feed
from tuner.training.listener_callback import WITHOUT_EPOCHS, FromScratchError, ListenerCallback, report_result
from tuner.training.own_feed import own_feed
from tuner.training.task import Listener, Task, metrics_line
from tuner.training.untuned_input import untuned_input
from tuner.training.weight_averaging import AveragedWeights

__all__ = ["Listener", "Task", "metrics_line", "train", "warn_about_unknown"]

log = logging.getLogger(__name__)


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
    except FromScratchError as reason:
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
    warn_about_unknown(hyperparameters, known)
    if task.model_file is not None:
        _restore(model, task.model_file, feed)
    prepared(model)
    own_fit = has_own_fit(space)
    may_be_returned = own_fit and may_return(type(space).fit, model, task.objective.name)
    callback = ListenerCallback(task, listener, feed, may_be_returned)
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
    except WITHOUT_EPOCHS as error:
        if not task.is_trained:
            raise
        raise FromScratchError(f"fails if no epoch is left to train ({cause_of(error)})") from error
    warn_about_unknown(hyperparameters, known)
    report_result(result, callback, task, listener, model)


def _requires_verbose(fit: Callable[..., Any]) -> bool:
    parameter = inspect.signature(fit).parameters.get("verbose")
    return parameter is not None and parameter.default is inspect.Parameter.empty


def warn_about_unknown(hyperparameters: keras_tuner.HyperParameters, known: set[str]) -> None:
    """Warn about hyperparameters that are not searched, and add them to `known`."""
    if unknown := hyperparameters.values.keys() - known:
        log.warning("hyperparameters that are not searched keep their defaults: %s", ", ".join(sorted(unknown)))
        known.update(unknown)


def _restore(model: keras.Model, file: Path, feed: Feed) -> None:
    if not model.built:
        model(next(iter(feed.inputs(1))))
    checkpoint.load_weights(model, file)
