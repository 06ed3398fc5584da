"""Grad-CAM: heatmaps of the parts of an image that supported the predicted class, on TensorFlow and JAX.

The method is that of Selvaraju et al. 2017 (https://arxiv.org/abs/1610.02391), which Bird and Lotfi apply to CIFAKE
(https://arxiv.org/abs/2303.14126). It uses the last layer whose output still has height and width. The score is the
logit, so that a confident model has gradients, too. A heatmap has the resolution of that layer. It shows where the
model looked, but not why.
"""

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tuner.errors import SpaceError

if TYPE_CHECKING:
    from collections.abc import Iterator

BATCH = 64


class GradCam:
    """Makes heatmaps of a Keras model. Raises SpaceError if no layer of the model is suitable."""

    def __init__(self, model: Any) -> None:
        graph = _graph(model)
        try:
            self._features = keras.Model(graph.inputs, graph.picture)
            self._head = keras.Model(graph.picture, graph.outputs)
        except ValueError as error:
            raise SpaceError(
                "no heatmap can be made because the model's output depends on more than its last picture (the last "
                "output of height, width and channels). Predict without heatmaps."
            ) from error
        self._last = model.layers[-1]

    def heatmaps(self, images: NDArray[np.uint8], predicted: NDArray[np.intp]) -> NDArray[np.float32]:
        """Return maps (n, h, w) from 0 to 1 for uint8 images (n, h, w, 3) and their predicted classes (n,).

        A map is all zeros if no part of the image supported the predicted class.
        """
        batches = [
            self._batch(images[start : start + BATCH], predicted[start : start + BATCH])
            for start in range(0, len(images), BATCH)
        ]
        return np.concatenate(batches)

    def _batch(self, images: NDArray[np.uint8], predicted: NDArray[np.intp]) -> NDArray[np.float32]:
        features = self._features(np.asarray(images, np.float32), training=False)
        with _without_activation(self._last):
            gradients = _gradients(self._head, features, predicted)
        values = np.asarray(keras.ops.convert_to_numpy(keras.ops.cast(features, "float32")))
        weights = gradients.mean(axis=(1, 2), keepdims=True)
        maps = np.maximum((weights * values).sum(axis=3), 0)
        most = maps.max(axis=(1, 2), keepdims=True)
        scaled = np.divide(maps, most, out=np.zeros_like(maps), where=most > 0)
        height, width = images.shape[1:3]
        return np.stack([_resized(each, width, height) for each in scaled])


@dataclass(frozen=True)
class _Graph:
    """Keras's symbolic tensors of a model."""

    inputs: Any
    picture: Any
    """The last layer output that still has height and width."""
    outputs: Any


def _graph(model: Any) -> _Graph:
    if isinstance(model, keras.Sequential):
        # a loaded model is built once per layer, and a layer's `output` is that of its first call
        inputs = tensor = keras.Input(batch_shape=model.input_shape)
        tensors = [tensor := layer(tensor) for layer in model.layers if not isinstance(layer, keras.layers.InputLayer)]
    elif isinstance(model, keras.Model) and getattr(model, "inputs", None):
        inputs, tensor = model.inputs[0], model.outputs[0]
        tensors = [
            getattr(layer, "output", None) for layer in model.layers if not isinstance(layer, keras.layers.InputLayer)
        ]
    else:
        raise SpaceError(
            "no heatmap can be made because the model is neither Sequential nor functional. Predict without heatmaps."
        )
    pictures = [each for each in tensors if len(shape := tuple(getattr(each, "shape", ()))) == 4 and shape[1] != 1]
    if not pictures:
        raise SpaceError(
            "no heatmap can be made because no layer's output has height, width and channels. Predict without heatmaps."
        )
    return _Graph(inputs, pictures[-1], tensor)


@contextmanager
def _without_activation(layer: Any) -> "Iterator[None]":
    """Make a layer that ends in a sigmoid or softmax return its logits during the block."""
    activation = getattr(layer, "activation", None)
    if activation not in (keras.activations.sigmoid, keras.activations.softmax):
        yield
        return
    layer.activation = keras.activations.linear
    try:
        yield
    finally:
        layer.activation = activation


def _gradients(head: Any, features: Any, predicted: NDArray[np.intp]) -> NDArray[np.float32]:
    """Return the gradients of each image's class score with respect to its features, (n, h, w, channels)."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow

        with tensorflow.GradientTape() as tape:
            tape.watch(features)
            score = _score(head(features, training=False), predicted)
        gradients = tape.gradient(score, features)
    elif keras.backend.backend() == "jax":
        import jax

        variables = [
            [variable.value for variable in each] for each in (head.trainable_variables, head.non_trainable_variables)
        ]

        def score_of(inputs: Any) -> Any:
            outputs, _ = head.stateless_call(*variables, inputs, training=False)
            return _score(outputs, predicted)

        gradients = jax.grad(score_of)(features)
    else:
        raise SpaceError(
            f"heatmaps need TensorFlow or JAX, got {keras.backend.backend()}. Set KERAS_BACKEND to one of them."
        )
    return np.asarray(keras.ops.convert_to_numpy(keras.ops.cast(gradients, "float32")))


def _score(outputs: Any, predicted: NDArray[np.intp]) -> Any:
    """Return the sum of the predicted classes' outputs.

    The output of a single sigmoid counts positively for the second class and negatively for the first.
    """
    outputs = keras.ops.cast(outputs, "float32")
    if outputs.shape[1] == 1:
        signs = (2.0 * predicted - 1.0).astype(np.float32)[:, None]
        return keras.ops.sum(outputs * signs)
    return keras.ops.sum(outputs * np.eye(outputs.shape[1], dtype=np.float32)[predicted])


def _resized(heat: NDArray[np.float32], width: int, height: int) -> NDArray[np.float32]:
    resized = Image.fromarray(heat.astype(np.float32)).resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(resized).clip(0, 1)
