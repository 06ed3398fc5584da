"""Models that Keras cannot load again are found when they are built, and the message shows the form that works."""

from collections.abc import Callable
from typing import Any

import keras
import keras_tuner
import pytest
from keras.applications.resnet50 import preprocess_input

from tuner.errors import SpaceError
from tuner.spaces.exploration import explore

SHAPE = (8, 8, 3)


class Halving(keras.layers.Layer):
    """A layer that is not registered."""

    def call(self, pixels: Any) -> Any:
        return pixels / 2


@keras.saving.register_keras_serializable("test_loadable")
class Registered(Halving):
    """A layer that is."""


@keras.saving.register_keras_serializable("test_loadable")
class Forgetful(keras.layers.Layer):
    """A registered layer without its argument in `get_config`."""

    def __init__(self, factor: float, **more: Any) -> None:
        super().__init__(**more)
        self.factor = factor

    def get_config(self) -> dict[str, Any]:
        return {"name": self.name}


def a_function(pixels: Any) -> Any:
    return pixels / 2


class WithLayer(keras_tuner.HyperModel):
    def __init__(self, layer: Callable[[], Any]) -> None:
        super().__init__()
        self._layer = layer

    def build(self, hp: keras_tuner.HyperParameters) -> keras.Model:
        layers = [keras.Input(SHAPE), self._layer(), keras.layers.Flatten(), keras.layers.Dense(2, "softmax")]
        model = keras.Sequential(layers)
        model.compile("sgd", a_function, metrics=["accuracy"])  # loss and metrics are not loaded
        hp.Int("units", 1, 2)
        return model


@pytest.mark.parametrize(
    ("layer", "sentences"),
    [
        (
            lambda: keras.layers.Lambda(lambda pixels: pixels / 255),
            ("contains Python code (a Lambda layer", "keras.layers.Rescaling(1 / 255) instead of Lambda"),
        ),
        (
            lambda: keras.layers.Lambda(preprocess_input),
            ("preprocess_input in a Lambda layer", "return preprocess_input(pixels)"),
        ),
        (lambda: keras.layers.Lambda(a_function), ("@keras.saving.register_keras_serializable()", "'a_function'")),
        (Halving, ("@keras.saving.register_keras_serializable()", "class 'Halving'")),
        (lambda: Forgetful(2.0), ("return every argument of __init__ from get_config()",)),
    ],
)
def test_a_model_that_cannot_be_loaded_again_is_refused_before_the_first_trial(
    layer: Callable[[], Any], sentences: tuple[str, ...]
) -> None:
    with pytest.raises(SpaceError, match="build\\(\\) returns cannot be loaded after it is saved") as refusal:
        explore(WithLayer(layer), SHAPE)
    for sentence in sentences:
        assert sentence in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert "Full object config" not in str(refusal.value)


def test_a_registered_layer_is_explored() -> None:
    assert [hp.name for hp in explore(WithLayer(Registered), SHAPE).space] == ["units"]
