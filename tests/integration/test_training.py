"""Training one trial, in this process: resumed as if never interrupted, and `fit` in all the ways users write it."""

import logging
import random
from pathlib import Path
from typing import Any

import keras
import keras_tuner
import numpy as np
import pytest

from tests.integration.spaces.user_spaces import Tiny
from tests.support.listeners import QuietListener
from tuner.data.arrays import Arrays, TrainingData
from tuner.study.objective import Objective
from tuner.training.faults import InvalidTrialError
from tuner.training.loop import Task, train

SHAPE, CLASSES = (8, 8, 3), 2


class RecordingListener(QuietListener):
    """A listener that keeps what it is told, and saves as a worker does."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.metrics: dict[int, dict[str, float]] = {}
        self.weights: dict[int, list[Any]] = {}
        self.epochs: list[int] = []

    def epoch_done(
        self, epoch: int, metrics: dict[str, float], model: keras.Model, returned: bool = False, named: bool = False
    ) -> None:
        self.epochs.append(epoch)
        self.metrics[epoch] = metrics
        self.weights[epoch] = [np.array(value) for value in model.get_weights()]
        model.save(self.file(epoch))

    def file(self, epoch: int) -> Path:
        return self.folder / f"{epoch}.keras"


class Convolutional(Tiny):
    """With all that has a state of its own: momentum, moving averages, random numbers of dropout."""

    def build(self, hp: keras_tuner.HyperParameters) -> keras.Model:
        layers = [
            keras.Input(self.image_shape),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Conv2D(4, 3),
            keras.layers.BatchNormalization(),
            keras.layers.Flatten(),
            keras.layers.Dropout(0.5),
            keras.layers.Dense(self.classes, activation="softmax"),
        ]
        model = keras.Sequential(layers)
        model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy", metrics=["accuracy"])
        return model


@pytest.fixture(scope="module")
def data() -> TrainingData:
    rng = np.random.default_rng(0)

    def arrays(count: int) -> Arrays:
        labels = (np.arange(count) % CLASSES).astype(np.uint8)
        images = rng.normal(90 + 60 * labels[:, None, None, None], 40, (count, *SHAPE)).clip(0, 255)
        return Arrays(images.astype(np.uint8), labels)

    return TrainingData(arrays(100), arrays(20))


def task(epochs: int = 3, **more: Any) -> Task:
    hyperparameters = keras_tuner.HyperParameters()
    return Task(hyperparameters=hyperparameters, seed=7, batch_size=16, epochs=epochs, **more)


def resumed(
    space: keras_tuner.HyperModel, data: TrainingData, folder: Path
) -> tuple[RecordingListener, RecordingListener]:
    """Train three epochs at once, and the third again from the second's file; return both listeners."""
    whole, third = RecordingListener(folder / "whole"), RecordingListener(folder / "third")
    for kept in (whole, third):
        kept.folder.mkdir()
    train(space, task(3), data, whole)
    history = {epoch: whole.metrics[epoch] for epoch in (0, 1)}
    train(space, task(3, first_epoch=2, model_file=whole.file(1), history=history), data, third)
    return whole, third


class FitOfTheGuide(Tiny):
    """Passes all on, with a batch size of its own."""

    def fit(self, hp, model, *args, **kwargs):
        return model.fit(*args, batch_size=hp.Choice("batch_size", [16, 32]), **kwargs)


class FitWithoutInitialEpoch(Tiny):
    """Begins at epoch 0 whatever it is told."""

    def fit(self, hp, model, x, y, validation_data, epochs, callbacks, **more):
        return model.fit(x, y, validation_data=validation_data, epochs=epochs, callbacks=callbacks, verbose=0)


class LoopOfTheGuide(Tiny):
    """A loop of its own, which calls only what Keras Tuner's guide calls of a callback, and counts from 0."""

    def fit(self, hp, model, x, y, validation_data, callbacks, **more):
        for callback in callbacks:
            callback.set_model(model)
        for epoch in range(3):
            model.train_on_batch(x, y)
            loss, accuracy = model.evaluate(*validation_data, verbose=0)
            for callback in callbacks:
                callback.on_epoch_end(epoch, logs={"val_loss": loss, "val_accuracy": accuracy})


class FitWithoutCallbacks(Tiny):
    """Passes no callbacks on; returns what `model.fit` does."""

    def fit(self, hp, model, x, y, validation_data, epochs, **more):
        return model.fit(x, y, validation_data=validation_data, epochs=epochs, verbose=0)


class FitThatReturnsANumber(Tiny):
    """Returns the objective alone."""

    def fit(self, hp, model, x, y, **more):
        return 0.75


class LoopThatAugments(Tiny):
    """A loop of its own, whose noise comes from every generator there is and is no two epochs the same."""

    def fit(self, hp, model, x, y, validation_data, callbacks, epochs, initial_epoch, **more):
        for callback in callbacks:
            callback.set_model(model)
        for epoch in range(initial_epoch, epochs):
            for callback in callbacks:
                callback.on_epoch_begin(epoch)
            noise = np.random.normal(size=x.shape) + random.gauss() + keras.random.normal(x.shape)
            if keras.backend.backend() == "tensorflow":
                import tensorflow

                noise += tensorflow.random.normal(x.shape) + tensorflow.random.get_global_generator().normal(x.shape)
            loss, accuracy = model.train_on_batch(x + keras.ops.convert_to_numpy(noise), y)
            val_loss, val_accuracy = model.evaluate(*validation_data, verbose=0)
            logs = {"loss": loss, "accuracy": accuracy, "val_loss": val_loss, "val_accuracy": val_accuracy}
            for callback in callbacks:
                callback.on_epoch_end(epoch, logs=logs)


@pytest.mark.parametrize("space", [Tiny, Convolutional, FitOfTheGuide, LoopThatAugments])
def test_a_resumed_trial_ends_bit_for_bit_as_one_that_was_not_interrupted(
    space: type[Tiny], data: TrainingData, tmp_path: Path
) -> None:
    whole, third = resumed(space(SHAPE, CLASSES), data, tmp_path)
    assert whole.epochs == [0, 1, 2]
    assert third.epochs == [2]
    assert third.metrics[2] == whole.metrics[2]
    assert_equal(third.weights[2], whole.weights[2])
    if space in (Convolutional, LoopThatAugments):  # they have random numbers: that they come again is no accident
        first = RecordingListener(tmp_path)
        train(space(SHAPE, CLASSES), task(1), data, first)
        assert first.metrics == {0: whole.metrics[0]}
        assert_equal(first.weights[0], whole.weights[0])


@pytest.mark.parametrize("space", [FitWithoutInitialEpoch, LoopOfTheGuide])
def test_a_fit_that_ignores_initial_epoch_starts_again_from_scratch_and_says_so(
    space: type[Tiny], data: TrainingData, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        whole, third = resumed(space(SHAPE, CLASSES), data, tmp_path)
    assert third.epochs == [0, 1, 2]
    assert "ignores initial_epoch, so the trial starts again from epoch 0" in caplog.text
    assert_equal(third.weights[0], whole.weights[0])


def assert_equal(weights: list[Any], expected: list[Any]) -> None:
    """Compare the weights of two models bit for bit."""
    for one, other in zip(weights, expected, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_fit_without_callbacks_is_scored_by_the_history_it_returns(data: TrainingData, tmp_path: Path) -> None:
    kept = RecordingListener(tmp_path)
    train(FitWithoutCallbacks(SHAPE, CLASSES), task(3), data, kept)
    assert kept.epochs == [2]  # so that nothing is left to train should the worker be lost now
    assert 0.0 <= kept.metrics[2]["val_accuracy"] <= 1.0


def test_a_fit_that_returns_a_number_is_scored_by_it(data: TrainingData, tmp_path: Path) -> None:
    kept = RecordingListener(tmp_path)
    train(FitThatReturnsANumber(SHAPE, CLASSES), task(3), data, kept)
    assert kept.metrics == {2: {"val_accuracy": 0.75}}


def test_hyperparameters_that_nobody_chose_keep_their_defaults_and_are_named(
    data: TrainingData, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    chosen_task = task(1)
    with caplog.at_level(logging.WARNING):
        train(FitOfTheGuide(SHAPE, CLASSES), chosen_task, data, RecordingListener(tmp_path))
    prefix = "hyperparameters that are not searched keep their defaults: "
    assert [record.message for record in caplog.records] == [f"{prefix}units", f"{prefix}batch_size"]


def test_nothing_is_said_where_all_were_chosen(
    data: TrainingData, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    chosen_task = task(1)
    chosen_task.hyperparameters.values.update(units=4, batch_size=32)
    with caplog.at_level(logging.WARNING):
        train(FitOfTheGuide(SHAPE, CLASSES), chosen_task, data, RecordingListener(tmp_path))
    assert not caplog.records


def test_an_objective_that_the_model_does_not_report_is_answered_with_what_it_does(
    data: TrainingData, tmp_path: Path
) -> None:
    with pytest.raises(InvalidTrialError, match="'val_auc', and the model reports accuracy, loss, val_accuracy"):
        train(Tiny(SHAPE, CLASSES), task(1, objective=Objective("val_auc")), data, RecordingListener(tmp_path))
