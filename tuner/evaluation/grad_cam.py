"""Grad-CAM: which parts of an image spoke for the class that was predicted; on TensorFlow and on JAX.

Selvaraju et al. 2017 (https://arxiv.org/abs/1610.02391), as Bird and Lotfi show it for CIFAKE
(https://arxiv.org/abs/2303.14126). The layer is the last whose output is still a picture; the score is the logit, so
that a model which is sure has gradients too. It explains where, not why; and the map has that layer's resolution.
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
    """Makes heatmaps of a Keras model. Raises SpaceError where it has no layer to look at."""

    def __init__(self, model: Any) -> None:
        graph = _graph(model)
        try:
            self._features = keras.Model(graph.inputs, graph.picture)
            self._head = keras.Model(graph.picture, graph.outputs)
        except ValueError as error:
            raise SpaceError(
                "no heatmap can be made: the model's answer follows from more than its last picture (the last output "
                "of height, width and channels)."
            ) from error
        self._last = model.layers[-1]

    def heatmaps(self, images: NDArray[np.uint8], predicted: NDArray[np.intp]) -> NDArray[np.float32]:
        """Return (n, h, w), 0 to 1, for uint8 images (n, h, w, 3) and the classes predicted for them.

        All zeros where no part of an image spoke for its class.
        """
        made = [
            self._batch(images[start : start + BATCH], predicted[start : start + BATCH])
            for start in range(0, len(images), BATCH)
        ]
        return np.concatenate(made)

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
    """The last output of a layer that is still a picture."""
    outputs: Any


def _graph(model: Any) -> _Graph:
    if isinstance(model, keras.Sequential):
        # one that was loaded has been built once a layer, and a layer's `output` is that of the first time
        inputs = tensor = keras.Input(batch_shape=model.input_shape)
        tensors = [tensor := layer(tensor) for layer in model.layers if not isinstance(layer, keras.layers.InputLayer)]
    elif isinstance(model, keras.Model) and getattr(model, "inputs", None):
        inputs, tensor = model.inputs[0], model.outputs[0]
        tensors = [
            getattr(layer, "output", None) for layer in model.layers if not isinstance(layer, keras.layers.InputLayer)
        ]
    else:
        raise SpaceError("no heatmap can be made: the model is neither Sequential nor functional.")
    pictures = [each for each in tensors if len(shape := tuple(getattr(each, "shape", ()))) == 4 and shape[1] != 1]
    if not pictures:
        raise SpaceError("no heatmap can be made: no layer's output is still a picture (height, width, channels).")
    return _Graph(inputs, pictures[-1], tensor)


@contextmanager
def _without_activation(layer: Any) -> "Iterator[None]":
    """Let a last layer with a sigmoid or softmax answer with its logits."""
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
    """Return how the score of each image's class changes with its features, (n, h, w, channels)."""
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

        def score_of(given: Any) -> Any:
            outputs, _ = head.stateless_call(*variables, given, training=False)
            return _score(outputs, predicted)

        gradients = jax.grad(score_of)(features)
    else:
        raise SpaceError(f"heatmaps are made on TensorFlow and JAX, not on {keras.backend.backend()}.")
    return np.asarray(keras.ops.convert_to_numpy(keras.ops.cast(gradients, "float32")))


def _score(outputs: Any, predicted: NDArray[np.intp]) -> Any:
    """Return the sum of the outputs for the classes predicted: of one sigmoid, + for the second and - for the first."""
    outputs = keras.ops.cast(outputs, "float32")
    if outputs.shape[1] == 1:
        signs = (2.0 * predicted - 1.0).astype(np.float32)[:, None]
        return keras.ops.sum(outputs * signs)
    return keras.ops.sum(outputs * np.eye(outputs.shape[1], dtype=np.float32)[predicted])


def _resized(heat: NDArray[np.float32], width: int, height: int) -> NDArray[np.float32]:
    made = Image.fromarray(heat.astype(np.float32)).resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(made).clip(0, 1)
