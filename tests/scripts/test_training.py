"""A trial of a script is trained by its own Tuner: reported by epoch, resumed, or reported as a whole."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import keras_tuner
import numpy as np
import pytest

from tests.scripts.scripts import RANDOM, SEARCH, searched
from tests.support.listeners import QuietListener
from tuner.names import TrialId
from tuner.scripts.models import load_model
from tuner.scripts.session import ScriptSearch
from tuner.scripts.training import ScriptTrainer
from tuner.spaces.checkpoint_size import checkpoint_size
from tuner.study.objective import Objective
from tuner.training import checkpoint
from tuner.training.activities import Activities
from tuner.training.faults import SharedFaultError
from tuner.training.task import Task
from tuner.worker.script_model_check import ScriptModelCheck

LOSS = Objective("val_loss", "min")


@dataclass
class Recorder(QuietListener):
    """Keeps the epochs, and the weights of the last one."""

    folder: Path
    epochs: list[tuple[int, dict[str, float], bool]] = field(default_factory=list)
    iterations: list[int] = field(default_factory=list)

    @property
    def file(self) -> Path:
        return self.folder / "saved.keras"

    def epoch_done(
        self, epoch: int, metrics: dict[str, float], model: Any, returned: bool = False, named: bool = False
    ) -> None:
        self.epochs.append((epoch, metrics, returned))
        if model.compiled:
            self.iterations.append(int(np.asarray(model.optimizer.iterations)))
        checkpoint.save_weights(model, self.file)


def task(epochs: int = 2, objective: Objective = LOSS) -> Task:
    hp = keras_tuner.HyperParameters()
    hp.Int("units", 1, 3)
    return Task(hp, 1, 8, epochs, objective=objective, trial_id=TrialId("00000"))


def trained(folder: Path, body: str, epochs: int = 2, objective: Objective = LOSS) -> Recorder:
    """Train one trial of a script, and return what was reported."""

    def train(search: ScriptSearch) -> Recorder:
        recorder = Recorder(folder)
        ScriptTrainer(search).train(task(epochs, objective), recorder, Activities(), lambda model: None)
        return recorder

    recorder: Recorder = searched(folder, body, train)
    return recorder


def test_every_epoch_is_reported(tmp_path: Path) -> None:
    recorder = trained(tmp_path, RANDOM + SEARCH)
    assert [(epoch, returned) for epoch, _, returned in recorder.epochs] == [(0, False), (1, False)]
    assert all({"loss", "val_loss"} <= metrics.keys() for _, metrics, _ in recorder.epochs)


def test_a_setting_overrides_the_number_of_epochs(tmp_path: Path) -> None:
    assert len(trained(tmp_path, RANDOM + SEARCH, epochs=4).epochs) == 4
    positional = "tuner.search(x, y, 4, 2, 0, validation_data=(x, y))\n"
    assert len(trained(tmp_path, RANDOM + positional, epochs=3).epochs) == 3


FLATTENED = """
def flattened(hp):
    model = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(hp.Int("units", 1, 3)), keras.layers.Dense(1)])
    model.compile("adam", "mse")
    return model
tuner = keras_tuner.RandomSearch(flattened, "val_loss", max_trials=2, seed=5)
"""
SUBCLASSED = """
class Pair(keras.Model):
    def __init__(self, units):
        super().__init__()
        self.parts = [keras.Sequential([keras.layers.Dense(units)]), keras.Sequential([keras.layers.Dense(1)])]
    def call(self, inputs):
        return self.parts[1](self.parts[0](inputs))
def pair(hp):
    model = Pair(hp.Int("units", 1, 3))
    model.compile("adam", "mse")
    return model
tuner = keras_tuner.RandomSearch(pair, "val_loss", max_trials=2, seed=5)
"""


@pytest.mark.parametrize("body", [RANDOM, FLATTENED, SUBCLASSED], ids=["built", "sequential", "subclassed"])
def test_a_trial_resumes_with_its_optimizer(body: str, tmp_path: Path) -> None:
    def train(search: ScriptSearch) -> list[Recorder]:
        first, second = Recorder(tmp_path), Recorder(tmp_path)
        trainer = ScriptTrainer(search)
        trainer.train(task(2), first, Activities(), lambda model: None)
        history = {epoch: metrics for epoch, metrics, _ in first.epochs}
        trainer.train(task(4).resumed(2, first.file, history), second, Activities(), lambda model: None)
        return [first, second]

    first, second = searched(tmp_path, body + SEARCH, train)
    assert [epoch for epoch, _, _ in second.epochs] == [2, 3]
    assert (first.iterations, second.iterations) == ([1, 2], [3, 4])


def test_several_executions_are_reported_once_with_their_mean(tmp_path: Path) -> None:
    recorder = trained(tmp_path, RANDOM.replace("seed", "executions_per_trial=3, seed") + SEARCH)
    [(epoch, metrics, returned)] = recorder.epochs
    assert (epoch, returned) == (1, True)
    assert {"loss", "val_loss"} <= metrics.keys()


OWN_TUNER = """
class Own(keras_tuner.RandomSearch):
    def run_trial(self, trial, x, y, validation_data, **kwargs):
        {}
tuner = Own(build, "val_loss")
"""


@pytest.mark.parametrize(
    "lines",
    [
        "model = self.hypermodel.build(trial.hyperparameters); model.fit(x, y, verbose=0); return {'val_loss': 0.5}",
        "model = self.hypermodel.build(trial.hyperparameters); model.fit(x, y, verbose=0); return 0.5",
        "model = self.hypermodel.build(trial.hyperparameters); model.fit(x, y, verbose=0); "
        "self.oracle.update_trial(trial.trial_id, {'val_loss': 0.5})",
    ],
    ids=["dict", "number", "update_trial"],
)
def test_a_training_loop_without_callbacks_is_reported_as_a_whole(lines: str, tmp_path: Path) -> None:
    recorder = trained(tmp_path, OWN_TUNER.format(lines) + SEARCH)
    assert [(epoch, metrics["val_loss"], returned) for epoch, metrics, returned in recorder.epochs] == [(1, 0.5, True)]


def test_several_models_that_report_their_epochs_are_refused(tmp_path: Path) -> None:
    lines = "return [super(Own, self).run_trial(trial, x, y, validation_data=validation_data)[0] for _ in range(2)]"
    with pytest.raises(SharedFaultError, match="trains several models in a trial"):
        trained(tmp_path, OWN_TUNER.format(lines) + SEARCH)


def test_a_run_trial_that_builds_no_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SharedFaultError, match="there is no model to save"):
        trained(tmp_path, OWN_TUNER.format("return 0.5") + SEARCH)


def test_a_callback_that_cannot_be_copied_is_used_as_it_is(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    body = """
import threading
class Locked(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.lock = threading.Lock()
tuner.search(x, y, validation_data=(x, y), callbacks=[Locked()], verbose=0)
"""
    assert trained(tmp_path, RANDOM + body, epochs=1).epochs
    assert "the callback Locked cannot be copied (cannot pickle '_thread.lock' object)" in caplog.text


def test_several_objectives_are_summed(tmp_path: Path) -> None:
    body = "tuner = keras_tuner.RandomSearch(build, ['val_loss', keras_tuner.Objective('loss', 'max')], max_trials=1)\n"
    recorder = trained(tmp_path, body + SEARCH, objective=Objective("multi_objective", "min"))
    for _, metrics, _ in recorder.epochs:
        assert metrics["multi_objective"] == pytest.approx(metrics["val_loss"] - metrics["loss"], abs=1e-6)


def test_a_metric_with_a_value_per_class_is_omitted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    body = """
def classes(hp):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3, "softmax")])
    model.compile("adam", "categorical_crossentropy", metrics=[keras.metrics.F1Score(name="f1_of_trial")])
    return model
tuner = keras_tuner.RandomSearch(classes, "val_loss", max_trials=1, seed=5)
y = np.eye(8, 3, dtype="float32")
"""
    recorder = trained(tmp_path, body + SEARCH)
    assert [metrics.keys() for _, metrics, _ in recorder.epochs] == [{"loss", "val_loss"}] * 2
    assert caplog.text.count("the metric f1_of_trial has several values and is omitted") == 1


# ---- the check of the saved model ---------------------------------------------------------------------


def verified(folder: Path, body: str, search_line: str = SEARCH, objective: Objective = LOSS) -> bool | None:
    """Train one epoch, and check its model as a worker does."""
    results: list[bool | None] = []

    class Checking(Recorder):
        check_model: Callable[..., bool | None]

        def epoch_done(self, epoch: int, metrics: Any, model: Any, returned: bool = False, named: bool = False) -> None:
            super().epoch_done(epoch, metrics, model, returned, named)
            results.append(self.check_model(self.file, metrics, returned, lambda: None))

    def prepared(model: keras.Model) -> None:
        checkpoint_size(model)

    def train(search: ScriptSearch) -> None:
        trainer, listener = ScriptTrainer(search), Checking(folder)
        listener.check_model = ScriptModelCheck(trainer, task().hyperparameters).verify
        trainer.train(task(objective=objective), listener, Activities(), prepared)

    searched(folder, body + search_line, train)
    assert set(results[1:]) == {None}  # only the first model of an attempt is checked
    return results[0]


DATA = "x = np.random.default_rng(0).normal(size=(8, 2)).astype('float32')\ny = x[:, 0]\n"


def test_a_model_that_its_code_builds_again_is_verified(tmp_path: Path) -> None:
    assert verified(tmp_path, DATA + RANDOM) is True


def test_so_is_one_that_is_validated_on_a_split(tmp_path: Path) -> None:
    assert verified(tmp_path, DATA + RANDOM, "tuner.search(x, y, validation_split=0.5, epochs=2, verbose=0)\n") is True


def test_a_model_that_is_never_compiled_is_built_again(tmp_path: Path) -> None:
    """As in Keras Tuner's guide to custom training loops, here with an optimizer that is as short as possible."""
    body = """
class Custom(keras_tuner.HyperModel):
    def build(self, hp):
        return keras.Sequential([keras.Input((2,)), keras.layers.Dense(hp.Int("units", 1, 3)), keras.layers.Dense(1)])
    def fit(self, hp, model, x, y, validation_data, callbacks, epochs, verbose):
        best = float("inf")
        for callback in callbacks:
            callback.set_model(model)
            callback.on_train_begin()
        for epoch in range(epochs):
            model.set_weights([0.9 * weights for weights in model.get_weights()])
            loss = float(np.mean((keras.ops.convert_to_numpy(model(validation_data[0]))[:, 0] - y) ** 2))
            for callback in callbacks:
                callback.on_epoch_end(epoch, logs={"my_metric": loss})
            best = min(best, loss)
        return best
tuner = keras_tuner.RandomSearch(Custom(), keras_tuner.Objective("my_metric", "min"), max_trials=2, seed=5)
"""
    assert verified(tmp_path, DATA + body, objective=Objective("my_metric", "min")) is False


def test_a_model_that_depends_on_something_else_ends_the_search(tmp_path: Path) -> None:
    body = """
calls = []
def changing(hp):
    calls.append(1)
    model = keras.Sequential([keras.Input((2,)), keras.layers.Rescaling(10.0 ** len(calls)),
                              keras.layers.Dense(hp.Int("units", 1, 3)), keras.layers.Dense(1)])
    model.compile("adam", "mse")
    return model
tuner = keras_tuner.RandomSearch(changing, "val_loss", max_trials=2, seed=5)
"""
    with pytest.raises(SharedFaultError, match="Let the model depend on its weights and on hp only"):
        verified(tmp_path, DATA + body)


def test_a_model_with_other_weights_ends_the_search(tmp_path: Path) -> None:
    body = """
calls = []
def growing(hp):
    calls.append(1)
    units = hp.Int("units", 1, 3) + len(calls)
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(units), keras.layers.Dense(1)])
    model.compile("adam", "mse")
    return model
tuner = keras_tuner.RandomSearch(growing, "val_loss", max_trials=2, seed=5)
"""
    with pytest.raises(SharedFaultError, match="the saved weights cannot be loaded into the model"):
        verified(tmp_path, DATA + body)


def test_a_subclassed_model_is_built_again_from_the_scripts_data(tmp_path: Path) -> None:
    assert verified(tmp_path, DATA + SUBCLASSED) is True


def test_loaded_weights_are_those_that_were_saved(tmp_path: Path) -> None:
    def train(search: ScriptSearch) -> tuple[Any, Any]:
        kept: list[Any] = []

        class Keeping(Recorder):
            def epoch_done(self, epoch: int, metrics: Any, model: Any, *_: Any, **__: Any) -> None:
                super().epoch_done(epoch, metrics, model)
                kept[:] = [array.copy() for array in model.get_weights()]

        listener = Keeping(tmp_path)
        ScriptTrainer(search).train(task(), listener, Activities(), lambda model: None)
        loaded: keras.Model = load_model(search, task().hyperparameters, listener.file)
        return kept, loaded.get_weights()

    kept, loaded = searched(tmp_path, DATA + RANDOM + SEARCH, train)
    assert len(kept) == len(loaded)
    assert all(np.array_equal(one, other) for one, other in zip(kept, loaded, strict=True))
