"""What a space's own `fit` returns counts, as in Keras Tuner: a dict, a number, a History, or a list of these."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import keras_tuner
import numpy as np
import pytest

from tests.support.listeners import QuietListener
from tuner.config.loading import load
from tuner.data.arrays import Arrays, TrainingData
from tuner.study.objective import Objective
from tuner.study.records import FaultScope
from tuner.training.checkpoint import save_model
from tuner.training.faults import SharedFaultError
from tuner.training.loop import Task, train

SHAPE = (4, 4, 3)
MAE = Objective("mae", "min")


class RecordingListener(QuietListener):
    """Keeps what it is called with."""

    def __init__(self) -> None:
        self.epochs: list[tuple[int, dict[str, float], bool]] = []

    def epoch_done(
        self, epoch: int, metrics: dict[str, float], model: keras.Model, returned: bool = False, named: bool = False
    ) -> None:
        self.epochs.append((epoch, metrics, returned))


class Guide(keras_tuner.HyperModel):
    """Keras Tuner's guide: the rest of the arguments is passed on, and the number to be tuned is returned."""

    def __init__(self, value: Any = None, validates: bool = False, callbacks: bool = True, verbose: Any = 0) -> None:
        super().__init__()
        self.verbose = verbose
        self.value = value
        self.validates = validates
        self.callbacks = callbacks
        self.arguments: set[str] = set()

    def build(self, hp: Any) -> keras.Model:
        model = keras.Sequential([keras.Input(SHAPE), keras.layers.Flatten(), keras.layers.Dense(2, "softmax")])
        # few steps take less time than tracing a graph
        model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"], run_eagerly=True)
        return model

    def fit(self, hp: Any, model: Any, x: Any, y: Any, validation_data: Any, **more: Any) -> Any:
        self.arguments = set(more)
        if not self.callbacks:
            more.pop("callbacks")
        validation = validation_data if self.validates else None
        history = model.fit(x, y, validation_data=validation, verbose=self.verbose, **more)
        return history if self.value == "history" else self.value


def epochs(space: Guide, objective: Objective, is_set: bool = True, epochs: int = 2) -> list[Any]:
    """Return the calls of the listener in a training."""
    rng = np.random.default_rng(0)
    arrays = Arrays(rng.integers(0, 256, (8, *SHAPE)).astype(np.uint8), (np.arange(8) % 2).astype(np.uint8))
    hp = keras_tuner.HyperParameters()
    task = Task(hp, 1, 8, epochs, objective=objective, objective_is_set=is_set)
    train(space, task, TrainingData(arrays, arrays), listener := RecordingListener())
    return listener.epochs


def test_a_fit_that_passes_the_callbacks_on_and_returns_a_dict_is_scored_by_the_dict() -> None:
    [(epoch, metrics, returned)] = epochs(Guide({"mae": 0.25, "other": 1}), MAE)
    assert (epoch, returned) == (1, True)
    assert metrics.keys() == {"accuracy", "loss", "mae", "other"}
    assert metrics["mae"] == 0.25


def test_a_returned_objective_counts_although_the_epochs_have_one_of_the_same_name() -> None:
    *reported, last = epochs(Guide({"val_accuracy": 0.125}, validates=True), Objective("val_accuracy"))
    assert [(epoch, returned) for epoch, _, returned in reported] == [(0, False), (1, False)]
    assert (last[0], last[1]["val_accuracy"], last[2]) == (1, 0.125, True)


def test_a_history_adds_nothing_to_the_epochs_that_were_reported() -> None:
    calls = epochs(Guide("history", validates=True), Objective("val_accuracy"))
    assert [(epoch, returned) for epoch, _, returned in calls] == [(0, False), (1, False)]


def test_a_history_without_callbacks_is_that_of_the_model_that_is_left() -> None:
    [(epoch, metrics, returned)] = epochs(Guide("history", True, callbacks=False), Objective("val_accuracy"))
    assert (epoch, returned) == (1, False)
    assert metrics.keys() == {"accuracy", "loss", "val_accuracy", "val_loss"}


@pytest.mark.parametrize("number", [0.5, np.float32(0.5), np.array(0.5), 1, [0.25, 0.75]])
def test_a_number_is_the_value_of_the_objective_that_was_set(number: Any) -> None:
    [(_, metrics, returned)] = epochs(Guide(number), MAE)
    assert metrics["mae"] == (1 if number == 1 else 0.5)
    assert returned


def test_only_a_dicts_values_of_one_element_are_numbers() -> None:
    [(_, metrics, _)] = epochs(Guide({"mae": np.array([0.5]), "vector": np.zeros(2), "none": np.zeros(0)}), MAE)
    assert metrics.keys() == {"accuracy", "loss", "mae"}
    assert metrics["mae"] == 0.5


def test_a_number_of_unknown_meaning_is_refused_in_every_trial() -> None:
    with pytest.raises(
        SharedFaultError, match=r"returned a number \(0\.9\).*Set both search\.objective .* and"
    ) as error:
        epochs(Guide(0.9), Objective("val_accuracy"), is_set=False)
    assert error.value.scope is FaultScope.SHARED


@pytest.mark.parametrize(
    ("settings", "is_set"),
    [
        ([], False),
        (["search.direction=min"], False),
        (["search.direction=max"], True),
        (["search.objective=mae"], True),
        (["search.objective=mae", "search.direction=min"], True),
    ],
)
def test_a_number_needs_an_objective_in_the_settings(settings: list[str], is_set: bool) -> None:
    assert load(settings=settings).search.names_objective is is_set


@pytest.mark.parametrize(
    ("space", "sentence"),
    [
        (Guide(), "search.objective is 'mae', and the model reports accuracy, loss. Choose one of these."),
        (Guide("history"), "search.objective is 'mae', and the History that fit() returned has accuracy, loss"),
        (Guide({"rmse": 1.0}), "search.objective is 'mae', and fit() returned rmse. Choose one of these."),
        (Guide("0.5"), "fit() returned str, which does not give the objective. Return a dict such as "),
        (Guide({"mae": "small"}), "fit() returned a dict with a value that is not a number"),
        (Guide(callbacks=False), "fit() neither passed the callbacks on to model.fit() nor returned the objective"),
    ],
)
def test_a_fit_without_the_objective_is_refused_with_what_it_has(space: Guide, sentence: str) -> None:
    with pytest.raises(SharedFaultError) as error:
        epochs(space, MAE)
    assert sentence in str(error.value)


def test_fit_gets_no_verbose_that_the_user_did_not_set() -> None:
    epochs(space := Guide({"mae": 1}), MAE)
    assert space.arguments == {"epochs", "initial_epoch", "callbacks"}


def test_a_fit_that_says_nothing_about_it_prints_a_line_per_epoch_instead_of_a_bar(
    capsys: pytest.CaptureFixture[str],
) -> None:
    epochs(Guide({"mae": 1}, verbose="auto"), MAE)
    printed = capsys.readouterr().out
    assert not set("\r\b") & set(printed)
    assert len([line for line in printed.splitlines() if "loss:" in line]) == 2


class Computes(Guide):
    """Returns something that it computes from the History of all epochs."""

    def __init__(self, compute: Callable[[list[float]], float]) -> None:
        super().__init__(validates=True)
        self.compute = compute

    def fit(self, hp: Any, model: Any, x: Any, y: Any, validation_data: Any, **more: Any) -> Any:
        history = model.fit(x, y, validation_data=validation_data, verbose=0, **more)
        return {"val_loss": self.compute(history.history["val_loss"])}


class Saving(RecordingListener):
    """Saves the model of each epoch."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder

    def file(self, epoch: int) -> Path:
        return self._folder / f"{epoch}.keras"

    def epoch_done(
        self, epoch: int, metrics: dict[str, float], model: keras.Model, returned: bool = False, named: bool = False
    ) -> None:
        super().epoch_done(epoch, metrics, model, returned, named)
        save_model(model, self.file(epoch))


def whole_and_resumed(
    space: Guide, objective: Objective, folder: Path, first: int, patience: int | None = None
) -> tuple[list[Any], list[Any]]:
    """Return the calls of the listener in a training of three epochs, and in one that resumes it at `first`."""
    rng = np.random.default_rng(0)
    arrays = Arrays(rng.integers(0, 256, (8, *SHAPE)).astype(np.uint8), (np.arange(8) % 2).astype(np.uint8))
    data = TrainingData(arrays, arrays)
    task = Task(keras_tuner.HyperParameters(), 1, 8, 3, objective=objective, patience=patience)
    train(space, task, data, whole := Saving(folder))
    known = {epoch: metrics for epoch, metrics, returned in whole.epochs if epoch < first and not returned}
    train(space, task.resumed(first, whole.file(first - 1), known), data, rest := RecordingListener())
    return whole.epochs, rest.epochs


LOWEST, HIGHEST = Objective("val_loss", "min"), Objective("val_loss", "max")
"""The best epoch is the second of three, or the first of two."""


@pytest.mark.parametrize("first", [2, 3])
@pytest.mark.parametrize("compute", [min, lambda losses: losses[-1]])
def test_a_resumed_fit_returns_what_it_would_have_returned_without_the_interruption(
    compute: Callable[[list[float]], float], first: int, tmp_path: Path
) -> None:
    """Also if the worker was lost after the last epoch, before `fit` had returned."""
    whole, resumed = whole_and_resumed(Computes(compute), LOWEST, tmp_path, first)
    expected = [(epoch, pytest.approx(metrics["val_loss"]), returned) for epoch, metrics, returned in whole]
    assert [(epoch, metrics["val_loss"], returned) for epoch, metrics, returned in resumed] == expected[first:]
    losses = [metrics["val_loss"] for _, metrics, _ in whole]
    assert min(losses) < losses[2], "the best epoch is not the last one"
    assert len(whole) == (3 if compute is min else 4), "the best epoch's model is kept, so its value adds nothing"


def test_a_fit_whose_patience_had_run_out_is_called_without_another_epoch(tmp_path: Path) -> None:
    whole, resumed = whole_and_resumed(Computes(len), HIGHEST, tmp_path, first=2, patience=1)
    assert [(epoch, returned) for epoch, _, returned in whole] == [(0, False), (1, False), (1, True)]
    assert [(epoch, metrics["val_loss"], returned) for epoch, metrics, returned in resumed] == [(1, 2, True)]


class OwnLoop(Guide):
    """A training loop of its own, which has nothing to return without an epoch."""

    def fit(  # type: ignore[override]
        self, hp: Any, model: Any, x: Any, y: Any, callbacks: Any, epochs: Any, initial_epoch: Any, **_: Any
    ) -> Any:
        for callback in callbacks:
            callback.set_model(model)
        for epoch in range(initial_epoch, epochs):
            logs = {"mae": 0.5}
            for callback in callbacks:
                callback.on_epoch_end(epoch, logs)
        return {"mae": logs["mae"] / 2}


def test_a_fit_that_cannot_do_without_an_epoch_starts_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    _, resumed = whole_and_resumed(OwnLoop(), MAE, tmp_path, first=3)
    assert [(epoch, metrics["mae"]) for epoch, metrics, _ in resumed] == [(0, 0.5), (1, 0.5), (2, 0.5), (2, 0.25)]
    assert "fails if no epoch is left to train (UnboundLocalError: " in caplog.text
    assert "so the trial starts again from epoch 0" in caplog.text


class PassesOn(Guide):
    def fit(self, hp: Any, model: Any, x: Any, y: Any, validation_data: Any, **more: Any) -> Any:
        return model.fit(x, y, validation_data=validation_data, verbose=2, **more)


def test_an_objective_that_the_first_epoch_lacks_and_fit_cannot_return_is_refused_after_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SharedFaultError, match="'val_auc', and the model reports accuracy, loss, val_accuracy, val_l"):
        epochs(PassesOn(), Objective("val_auc"), epochs=5)
    assert "Epoch 1/5" in (printed := capsys.readouterr().out)
    assert "Epoch 2/5" not in printed


class NeedsVerbose(Guide):
    def fit(  # type: ignore[override]
        self, hp: Any, model: Any, x: Any, y: Any, verbose: Any, validation_data: Any, **more: Any
    ) -> Any:
        self.verbose = verbose
        return super().fit(hp, model, x, y, validation_data, **more)


def test_fit_gets_verbose_if_it_requires_it() -> None:
    space = NeedsVerbose({"mae": 1})
    epochs(space, MAE)
    assert space.verbose == 2
