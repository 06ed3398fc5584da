"""The built-in spaces at other sizes than 32 x 32: as published at 32 x 32, and no larger a model for larger images."""

from typing import Any

import keras
import keras_tuner
import numpy as np
import pytest

from tuner.spaces.deep import DeepSpace
from tuner.spaces.image_scale import image_scale
from tuner.spaces.model_size import space_size
from tuner.spaces.seed import SeedSpace

Space = type[SeedSpace] | type[DeepSpace]


def built(space: Space, height: int, across: int, **values: Any) -> keras.Model:
    """Return the model for images of height x across with these hyperparameters, of which one is called width."""
    hp = keras_tuner.HyperParameters()
    hp.values.update(values)
    return space((height, across, 3), 2).build(hp)


def layers_of(model: keras.Model) -> dict[str, tuple[Any, ...]]:
    """Return what the convolutions are, and what shape every layer has, by the layer's class and place."""
    return {
        f"{number} {type(layer).__name__}": (
            *(getattr(layer, key, None) for key in ("kernel_size", "strides", "padding")),
            tuple(layer.output.shape),
        )
        for number, layer in enumerate(model.layers)
    }


@pytest.mark.parametrize(
    ("height", "width", "scale"),
    [(32, 32, 1), (16, 16, 1), (28, 28, 1), (45, 32, 1), (64, 64, 2), (224, 224, 7), (480, 640, 17), (8, 2048, 1)],
)
def test_an_image_is_reduced_to_about_32_by_32_pixels(height: int, width: int, scale: int) -> None:
    assert image_scale(height, width) == scale


def test_seed_at_32_by_32_is_the_published_network() -> None:
    keras.utils.set_random_seed(1)
    keras.backend.clear_session()
    model = built(SeedSpace, 32, 32)
    assert list(layers_of(model).values())[1:4] == [
        ((2, 2), (1, 1), "valid", (None, 31, 31, 20)), (None, (2, 2), "valid", (None, 15, 15, 20)),
        (None, None, None, (None, 4500)),
    ]  # fmt: skip
    assert model.count_params() == 460_561


def test_deep_at_32_by_32_is_the_network_of_the_results() -> None:
    model = built(DeepSpace, 32, 32, shift=4, cutout=12)
    convolutions = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    assert (convolutions[0].kernel_size, convolutions[0].strides) == ((3, 3), (1, 1))
    assert [tuple(layer.output.shape[1:3]) for layer in convolutions[:1] + convolutions[-1:]] == [(32, 32), (8, 8)]
    (erasing,) = (layer for layer in model.layers if isinstance(layer, keras.layers.RandomErasing))
    assert erasing.scale == ((12 / 32) ** 2, (12 / 32) ** 2)
    (shift,) = (layer for layer in model.layers if type(layer).__name__ == "RandomShift")
    assert shift.pixels == 4


@pytest.mark.parametrize(("height", "width"), [(224, 224), (480, 640)])
def test_a_larger_image_needs_no_larger_network(height: int, width: int) -> None:
    large, small = (size(SeedSpace, *sides) for sides in ((height, width), (32, 32)))
    assert large.default.parameters < 1.5 * small.default.parameters
    assert large.largest.parameters < 1.5 * small.largest.parameters


def test_a_larger_image_needs_no_larger_residual_network() -> None:
    values = {"width": 32, "blocks": 1, "shift": 2, "cutout": 8}
    large, small = (built(DeepSpace, side, side, **values) for side in (224, 32))
    assert large.count_params() < 1.2 * small.count_params()
    sides = [max(layer.output.shape[1:3]) for layer in large.layers if isinstance(layer, keras.layers.Conv2D)]
    assert max(sides) == 32
    (erasing,) = (layer for layer in large.layers if isinstance(layer, keras.layers.RandomErasing))
    assert erasing.scale == (1 / 16, 1 / 16)
    (shift,) = (layer for layer in large.layers if type(layer).__name__ == "RandomShift")
    assert shift.pixels == 14


def size(space: Space, height: int, width: int) -> Any:
    instance, hyperparameters = space((height, width, 3), 2), keras_tuner.HyperParameters()
    instance.build(hyperparameters)
    return space_size(instance, hyperparameters)


@pytest.mark.parametrize("space", [SeedSpace, DeepSpace])
@pytest.mark.parametrize(("height", "width"), [(8, 8), (12, 100), (75, 40)])
def test_a_small_or_narrow_image_can_be_classified(space: Space, height: int, width: int) -> None:
    values = {"kernel_size": 4, "shift": 4, "cutout": 12}
    if space is DeepSpace and height == 8:
        values["cutout"] = 0  # a square of 12 x 12 pixels is larger than the image
    model = built(space, height, width, **values)
    assert model(np.zeros((2, height, width, 3), np.float32), training=False).shape == (2, 1)


def test_the_sizes_that_are_reported_are_those_of_the_models() -> None:
    sizes = size(SeedSpace, 32, 32)
    model = built(SeedSpace, 32, 32)
    model.optimizer.build(model.trainable_variables)
    assert sizes.default.parameters == model.count_params()
    floats = sum(int(np.prod(variable.shape)) for variable in [*model.variables, *model.optimizer.variables])
    assert sizes.default.checkpoint.value_bytes == pytest.approx(4 * floats, rel=1e-3)
    largest = built(SeedSpace, 32, 32, filters=100, kernel_size=4, units_1=1000, units_2=1000)
    assert sizes.largest.parameters == largest.count_params()


def test_a_model_that_is_built_by_its_first_batch_has_no_known_size() -> None:
    class Unbuilt(keras_tuner.HyperModel):
        def build(self, hp: keras_tuner.HyperParameters) -> keras.Model:
            model = keras.Sequential([keras.layers.Dense(hp.Int("units", 1, 9))])
            model.compile("sgd", "mse")
            return model

    hyperparameters = keras_tuner.HyperParameters()
    Unbuilt().build(hyperparameters)
    assert space_size(Unbuilt(), hyperparameters) is None
