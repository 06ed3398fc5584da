"""What a space may return as its own data and as its evaluation, and what is refused with which sentence."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import keras_tuner
import numpy as np
import pytest

from tuner.config.space_settings import Space
from tuner.errors import EnvironmentFailure, SpaceError
from tuner.spaces import load_own_space, load_space
from tuner.spaces.exploration import explore
from tuner.spaces.own_data import OwnPart, Part, load_part
from tuner.spaces.own_evaluation import evaluate, require_compiled

X, Y = np.zeros((6, 4), np.float32), np.zeros(6, np.float32)


class Returning(keras_tuner.HyperModel):
    """Returns what a function returns."""

    def __init__(self, answer: Callable[[], Any]) -> None:
        super().__init__()
        self.answer = answer

    def data(self, part: str) -> Any:
        return self.answer()


class Steps(keras.utils.PyDataset):
    def __init__(self, steps: int | None) -> None:
        super().__init__()
        self.steps = steps

    @property
    def num_batches(self) -> int | None:
        return self.steps

    def __getitem__(self, index: int) -> Any:
        return X, Y


def returned(answer: Callable[[], Any]) -> OwnPart:
    return load_part(Returning(answer), Part.TRAIN, seed=1)


@pytest.mark.parametrize(
    "data",
    [
        (X, Y),
        [X, Y],
        (X, Y, np.ones(6)),
        ({"a": X, "b": X}, Y),
        ([X, X], Y),
        (X, [0, 1, 1, 0, 1, 1]),
        (X, {"mean": Y, "class": Y}),
        (X.tolist(), Y.tolist()),
    ],
)
def test_arrays_may_be_nested_weighted_or_lists(data: Any) -> None:
    part = returned(lambda: data)
    assert (part.count, part.batches, part.describe()) == (6, None, "6 samples")
    assert all(isinstance(array, np.ndarray) for array in keras.tree.flatten(part.data))


def test_memory_mapped_arrays_are_not_read(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", X)
    part = returned(lambda: (np.load(tmp_path / "x.npy", mmap_mode="r"), Y))
    assert isinstance(part.data[0].base, np.memmap)


def test_pipelines_have_a_number_of_batches_or_an_unknown_one() -> None:
    tf = pytest.importorskip("tensorflow")
    points = tf.data.Dataset.from_tensor_slices((X, Y)).batch(4)
    assert returned(lambda: Steps(3)).describe() == "3 batches"
    assert returned(lambda: points).batches == 2
    assert returned(lambda: points.filter(lambda x, y: True)).describe() == "a pipeline of unknown length"


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (
            None,
            r"data\('train'\) must return arrays \(x, y\) or .*, a keras.utils.PyDataset or a tf.data.Dataset, got N",
        ),
        (X, "must return arrays .*, got ndarray"),
        ((X,), "got a tuple of 1"),
        ((X, Y, Y, Y), "got a tuple of 4"),
        (iter([(X, Y)]), "got list_iterator"),
        ((X, None), "returned None for x or y"),
        ((X, Y[:5]), "different lengths: x has 6, y has 5 samples"),
        (({"a": X, "b": X[:2]}, Y), "different lengths: x has 6, x has 2, y has 6"),
        ((X[:0], Y[:0]), "without samples"),
        ((X, "labels"), "returned str as y"),
        (Steps(0), "empty PyDataset"),
        (Steps(None), "without an end. Return the number of batches from its __len__"),
    ],
)
def test_anything_else_is_refused_with_what_to_return(data: Any, says: str) -> None:
    with pytest.raises(SpaceError, match=says):
        returned(lambda: data)


def test_pipelines_without_an_end_are_refused() -> None:
    tf = pytest.importorskip("tensorflow")
    points = tf.data.Dataset.from_tensor_slices((X, Y)).batch(4)
    with pytest.raises(SpaceError, match=r"without an end. Remove repeat\(\)"):
        returned(points.repeat)
    with pytest.raises(SpaceError, match=r"empty tf.data.Dataset"):
        returned(lambda: points.take(0))


def test_a_random_split_is_the_same_in_each_call() -> None:
    """Otherwise, the validation samples of one process would be training samples of another."""
    first, second = (returned(lambda: (np.random.permutation(6), Y)).data[0] for _ in range(2))
    assert first.tolist() == second.tolist()


def raising(error: Exception) -> Callable[[], Any]:
    def answer() -> Any:
        raise error

    return answer


def test_a_missing_file_is_the_users_fault_and_a_broken_network_is_not() -> None:
    with pytest.raises(SpaceError, match=r"data\('train'\) fails \(FileNotFoundError: x.npy .*Fix it"):
        returned(raising(FileNotFoundError("x.npy")))
    with pytest.raises(SpaceError, match="KeyError: 'price'"):
        returned(raising(KeyError("price")))
    with pytest.raises(EnvironmentFailure, match="connection reset"):
        returned(raising(ConnectionResetError("connection reset")))


# ---- loading ----------------------------------------------------------------------------------------


def written(folder: Path, name: str, body: str) -> Space:
    text = f"import keras_tuner\nclass Mine(keras_tuner.HyperModel):\n{body}"
    (folder / f"{name}.py").write_text(text)
    return Space.model_validate({"import": f"{name}:Mine", "code": str(folder)})


def test_data_own_and_the_method_data_belong_together(tmp_path: Path) -> None:
    own = written(tmp_path, "space_with_data", "    def data(self, part):\n        return None\n")
    images = written(tmp_path, "space_without_data", "    pass\n")
    assert hasattr(load_own_space(own), "data")
    with pytest.raises(SpaceError, match=r"has a method data, but data\.own is false.*Set data\.own to true"):
        load_space(own, (8, 8, 3), 2)
    with pytest.raises(
        SpaceError, match=r"data\.own is true, but space_without_data:Mine has no method data. Add data"
    ):
        load_own_space(images)


def test_arguments_of_images_are_refused_if_the_space_brings_its_data(tmp_path: Path) -> None:
    space = written(
        tmp_path,
        "space_with_shape",
        "    def __init__(self, image_shape):\n        super().__init__()\n    def data(self, part):\n        pass\n",
    )
    with pytest.raises(SpaceError, match=r"requires 'image_shape', which cannot be filled if the space brings its own"):
        load_own_space(space)


class TunedFit(keras_tuner.HyperModel):
    """Names a hyperparameter in `fit`, whose data is a pipeline."""

    def build(self, hp: keras_tuner.HyperParameters) -> keras.Model:
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(hp.Int("units", 1, 2))])
        model.compile("sgd", "mse")
        return model

    def fit(self, hp: keras_tuner.HyperParameters, model: Any, x: Any, validation_data: Any, **more: Any) -> Any:
        return model.fit(x.batch(hp.Choice("batch", [2, 4])), validation_data=validation_data, **more)


def test_hyperparameters_of_fit_are_found_without_the_data() -> None:
    class Before(TunedFit):
        def fit(self, hp: keras_tuner.HyperParameters, model: Any, x: Any, validation_data: Any, **more: Any) -> Any:
            hp.Choice("batch", [2, 4])
            return super().fit(hp, model, x, validation_data, **more)

    assert {hyperparameter.name for hyperparameter in explore(Before(), None).space} == {"units", "batch"}


# ---- evaluation -------------------------------------------------------------------------------------


class Evaluating(keras_tuner.HyperModel):
    def __init__(self, numbers: Any) -> None:
        super().__init__()
        self.numbers = numbers

    def evaluate(self, model: Any, test: Any) -> Any:
        if isinstance(self.numbers, Exception):
            raise self.numbers
        return self.numbers


PART = OwnPart((X, Y), 6, None)


def test_an_evaluation_is_a_dict_of_any_numbers() -> None:
    numbers = {"mae": np.float32(0.5), "right": 3, "all": True, "f1": keras.ops.convert_to_tensor(0.25), "bad": np.nan}
    result = evaluate(Evaluating(numbers), None, PART, 4)
    assert {name: value for name, value in result.items() if name != "bad"} == {
        "mae": 0.5, "right": 3.0, "all": 1.0, "f1": 0.25,
    }  # fmt: skip
    assert np.isnan(result["bad"])


@pytest.mark.parametrize(
    ("numbers", "says"),
    [
        (None, r"evaluate\(\) returned NoneType. Return a dict of numbers, such as"),
        ({}, "returned an empty dict"),
        (0.5, "returned float"),
        ({"mae": "low"}, "returned str for 'mae'"),
        ({"mae": [1, 2]}, "returned list for 'mae'"),
        ({"": 1.0}, "returned the name ''"),
        ({1: 1.0}, "returned the name 1"),
        (ValueError("no such column"), r"evaluate\(\) fails \(ValueError: no such column .*test_own_data.py"),
    ],
)
def test_any_other_evaluation_is_refused(numbers: Any, says: str) -> None:
    with pytest.raises(SpaceError, match=says):
        evaluate(Evaluating(numbers), None, PART, 4)


def test_without_a_method_evaluate_the_models_own_metrics_are_returned() -> None:
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1, kernel_initializer="zeros")])
    space = Returning(lambda: None)
    with pytest.raises(SpaceError, match="has no loss and metrics"):
        require_compiled(space, model)
    require_compiled(Evaluating({"mae": 1}), model)
    model.compile("sgd", "mse", metrics=["mae"])
    require_compiled(space, model)
    arrays = evaluate(space, model, OwnPart((X, Y + 2), 6, None), 4)
    assert arrays == {"loss": pytest.approx(4), "mae": pytest.approx(2)}
    weighted = evaluate(space, model, OwnPart((X, Y + 2, Y), 6, None), 4)
    assert weighted["loss"] == 0.0
    assert evaluate(space, model, OwnPart(Steps(2), None, 2), 4) == {"loss": 0.0, "mae": 0.0}
