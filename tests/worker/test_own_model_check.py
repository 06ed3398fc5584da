"""A model of a space with its own data is loaded and evaluated after the first epoch, so that no search is in vain."""

import logging
from pathlib import Path
from typing import Any

import keras
import keras_tuner
import numpy as np
import pytest

from tuner.spaces.own_data import OwnPart
from tuner.training.activities import Activities
from tuner.training.faults import SharedFaultError
from tuner.worker.own_model_check import OwnModelCheck

PART = OwnPart((np.zeros((6, 4), np.float32), np.ones(6, np.float32)), 6, None)


def unregistered(truth: Any, predicted: Any) -> Any:
    return keras.ops.mean(keras.ops.abs(truth - predicted), axis=-1)


class Plain(keras_tuner.HyperModel):
    def data(self, part: str) -> Any:
        return PART.data


class Broken(Plain):
    def evaluate(self, model: Any, test: Any) -> Any:
        return {"r2": 1 / 0}


class Greedy(Plain):
    def evaluate(self, model: Any, test: Any) -> Any:
        return {"values": np.empty(2**50).size}


class Counting(Plain):
    calls = 0

    def evaluate(self, model: Any, test: Any) -> Any:
        self.calls += 1
        return {"mae": float(np.abs(model.predict(test[0], verbose=0)[:, 0] - test[1]).mean())}


def saved(folder: Path, loss: Any = "mse") -> Path:
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    model.compile("sgd", loss)
    model.save(folder / "model.keras")
    return folder / "model.keras"


def verify(space: keras_tuner.HyperModel, file: Path, times: int = 1) -> list[bool | None]:
    check = OwnModelCheck(space, PART, 4, Activities())
    return [check.verify(file, {"val_loss": 1.0}, False, lambda: None) for _ in range(times)]


def test_the_objective_is_not_verified_and_the_evaluation_is_tried_once_in_a_process(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    space, file = Counting(), saved(tmp_path)
    with caplog.at_level(logging.INFO):
        assert verify(space, file, times=3) == [False, None, None]
        assert verify(space, file) == [False]
    assert space.calls == 1
    assert "the evaluation works; on the validation data, it returns mae" in caplog.text


def test_an_evaluation_that_fails_ends_the_search_after_the_first_epoch(tmp_path: Path) -> None:
    with pytest.raises(SharedFaultError, match=r"evaluate\(\) fails \(ZeroDivisionError: .*test_own_model_check.py"):
        verify(Broken(), saved(tmp_path))


def test_an_evaluation_that_runs_out_of_memory_is_not_called_wrong(tmp_path: Path) -> None:
    with pytest.raises(MemoryError, match=r"ran out of memory beside the trained model.* Unable to allocate 8\.00 PiB"):
        verify(Greedy(), saved(tmp_path))


def test_a_loss_that_cannot_be_loaded_ends_the_search_unless_the_space_evaluates_itself(tmp_path: Path) -> None:
    file = saved(tmp_path, unregistered)
    with pytest.raises(SharedFaultError, match="register_keras_serializable"):
        verify(Plain(), file)
    assert verify(Counting(), file) == [False]
