"""Images mixed with one another in training, and their labels with them: mixup and CutMix."""

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

HOW = ("none", "mixup", "cutmix")


@keras.saving.register_keras_serializable("cifake_tune")
class Mixing(keras.layers.Layer):
    """Mixes each image (n, height, width, channels) with the one before it in its batch, in training.

    mixup (Zhang et al., https://arxiv.org/abs/1710.09412) adds the two, CutMix (Yun et al., 1905.04899) lays a square
    of the other over the image, which may leave on one side and come in on the other. An image keeps a share of 0.5 to
    1, so that it is the one that its label is right for; the shares of a batch are spread evenly. A share drawn once a
    batch makes batch norm's statistics those of the last few draws: validation accuracy went up and down by a point.
    """

    def __init__(self, how: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.how = how
        self.seed_generator = keras.random.SeedGenerator()

    def call(self, images: Any, training: bool = False) -> Any:
        """Return images of the same shape."""
        if not training:
            return images
        shape = ops.shape(images)
        if self.how == "mixup":
            own = self.kept(shape)[:, None, None, None]
        else:
            sides = self._sides(shape)
            covered = self._covered(sides, shape[1])[:, :, None] * self._covered(sides, shape[2])[:, None, :]
            own = 1 - covered[..., None]
        own = ops.cast(own, images.dtype)
        return own * images + (1 - own) * ops.roll(images, 1, axis=0)

    def kept(self, shape: Any) -> Any:
        """Return the share that each image keeps, (n,) in float32, in a batch of this shape."""
        if self.how == "mixup":
            return 1 - _given(shape[0])
        return 1 - self._sides(shape) ** 2 / (shape[1] * shape[2])

    def _sides(self, shape: Any) -> Any:
        """Return the side of each image's square, (n,), in pixels."""
        return ops.round(ops.sqrt(_given(shape[0]) * shape[1] * shape[2]))

    def _covered(self, sides: Any, size: int) -> Any:
        """Return (n, size) of 0 and 1: which rows, or columns, of each image its square covers."""
        first = keras.random.randint((ops.shape(sides)[0], 1), 0, size, seed=self.seed_generator)
        return ops.cast(ops.cast((ops.arange(size) - first) % size, "float32") < sides[:, None], "float32")

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of `__init__`."""
        return {**super().get_config(), "how": self.how}

    def for_prediction(self) -> keras.layers.Layer:
        """Return what it does when a model predicts."""
        return keras.layers.Identity(name=self.name)


def _given(count: Any) -> Any:
    """Return the shares of the other image, (count,), from 0 to 0.5."""
    return (ops.arange(count, dtype="float32") + 0.5) / ops.cast(2 * count, "float32")


@keras.saving.register_keras_serializable("cifake_tune")
class MixedModel(keras.Model):
    """A model with one `Mixing` layer: in training, the loss is that of both labels, by their shares."""

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        """Return the loss of a batch."""
        loss: Callable[..., Any] = super().compute_loss
        if not training:
            return loss(x, y, y_pred, sample_weight, training=False)
        mixing = next(layer for layer in self.layers if isinstance(layer, Mixing))
        kept = mixing.kept(ops.shape(x))
        return loss(x, y, y_pred, kept) + loss(x, ops.roll(y, 1, axis=0), y_pred, 1 - kept)
