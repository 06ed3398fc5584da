"""Grad-CAM on models whose reasons are known: it finds them. On the backend at hand; predict's tests do so on JAX."""

import io
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from tuner.errors import SpaceError
from tuner.evaluation.grad_cam import GradCam
from tuner.evaluation.heatmaps import heatmap_png
from tuner.evaluation.saved_model import load_model

SIDE = 16


def light_seeker(outputs: int = 1, separate_activation: bool = False) -> keras.Model:
    """A convolutional model for which light anywhere speaks for the last class, and so surely that it saturates."""
    layers = [
        keras.Input((SIDE, SIDE, 3)),
        keras.layers.Rescaling(1 / 255),
        keras.layers.Conv2D(2, 3, padding="same", activation="relu"),
        keras.layers.MaxPooling2D(),
        keras.layers.GlobalAveragePooling2D(),
    ]
    activation = "sigmoid" if outputs == 1 else "softmax"
    if separate_activation:
        layers += [keras.layers.Dense(outputs), keras.layers.Activation(activation)]
    else:
        layers += [keras.layers.Dense(outputs, activation=activation)]
    model = keras.Sequential(layers)
    model.layers[1].set_weights([np.full((3, 3, 3, 2), 1 / 27), np.zeros(2)])
    dense = next(layer for layer in model.layers if isinstance(layer, keras.layers.Dense))
    weights = np.zeros((2, outputs))
    weights[:, -1] = 1000
    dense.set_weights([weights, np.zeros(outputs)])
    return model


def with_light(row: int, column: int) -> np.ndarray:
    image = np.zeros((SIDE, SIDE, 3), np.uint8)
    image[row : row + 4, column : column + 4] = 255
    return image


@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("separate", [False, True])
@pytest.mark.parametrize("loaded", [False, True])
def test_it_looks_where_the_reason_is_also_where_the_model_is_sure(
    outputs: int, separate: bool, loaded: bool, tmp_path: Path
) -> None:
    model = light_seeker(outputs, separate)
    if loaded:
        model.save(tmp_path / "m.keras")
        model = load_model(tmp_path / "m.keras", "a test")
    images = np.stack([with_light(1, 11), with_light(11, 1)])
    probabilities = keras.ops.convert_to_numpy(model(images.astype("float32")))
    assert probabilities[:, -1].min() == 1, "so sure that the probability has no gradient"
    heat = GradCam(model).heatmaps(images, np.array([max(1, outputs - 1)] * 2))
    assert heat.shape == (2, SIDE, SIDE)
    for heatmap, (row, column) in zip(heat, [(1, 11), (11, 1)], strict=True):
        y, x = np.unravel_index(heatmap.argmax(), heatmap.shape)
        assert row - 1 <= y <= row + 5
        assert column - 1 <= x <= column + 5
        assert heatmap.max() > 0.9
        assert heatmap[15 - row, 15 - column] < 0.1
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(model(images.astype("float32"))), probabilities)


def test_what_speaks_for_nothing_has_no_heat() -> None:
    heat = GradCam(light_seeker()).heatmaps(with_light(1, 11)[None], np.array([0]))
    assert heat.max() == 0, "light does not speak for the first class"


def test_a_network_with_shortcuts_has_a_last_picture_too() -> None:
    inputs = keras.Input((SIDE, SIDE, 3))
    first = keras.layers.Conv2D(4, 3, padding="same")(inputs)
    added = keras.layers.Add()([first, keras.layers.Conv2D(4, 3, padding="same")(first)])
    outputs = keras.layers.Dense(2, activation="softmax")(keras.layers.GlobalAveragePooling2D()(added))
    heat = GradCam(keras.Model(inputs, outputs)).heatmaps(with_light(3, 3)[None], np.array([1]))
    assert heat.shape == (1, SIDE, SIDE)


def test_a_model_without_pictures_inside_is_a_sentence() -> None:
    flat = keras.Sequential([keras.Input((SIDE, SIDE, 3)), keras.layers.Flatten(), keras.layers.Dense(1)])
    with pytest.raises(SpaceError, match="no heatmap can be made"):
        GradCam(flat)


def test_a_way_around_the_last_picture_is_a_sentence() -> None:
    inputs = keras.Input((SIDE, SIDE, 3))
    picture = keras.layers.Conv2D(4, 3)(inputs)
    both = keras.layers.Concatenate()([keras.layers.Flatten()(inputs), keras.layers.GlobalMaxPooling2D()(picture)])
    with pytest.raises(SpaceError, match="depends on more than its last picture"):
        GradCam(keras.Model(inputs, keras.layers.Dense(1, activation="sigmoid")(both)))


def test_the_picture_shows_the_image_and_the_heat_beside_it() -> None:
    heat = np.zeros((SIDE, SIDE), np.float32)
    heat[4, 4] = 1
    picture = np.asarray(Image.open(io.BytesIO(heatmap_png(with_light(1, 11), heat))))
    assert picture.shape == (256, 2 * 256 + 8, 3)
    assert picture[40, 220].tolist() == [255, 255, 255], "the light, on the left"
    assert picture[72, 264 + 72].sum() > picture[200, 264 + 200].sum() + 100, "the heat, on the right"
