"""Mixing images, and their labels, in training: mixup and CutMix."""

from abc import abstractmethod
from typing import Any

import keras
from keras import ops

from tuner.spaces.layers.augmentation import Augmentation


class Mixing(Augmentation):
    """Mixes each image (n, height, width, channels) with the previous one of its batch, in training.

    An image keeps a share of 0.5 to 1, so its own label has the larger weight. The shares are spread evenly over a
    batch. With one share per batch, batch norm's statistics would depend on the last few draws, and validation accuracy
    would fluctuate with them.
    """

    def changed(self, images: Any) -> Any:
        """Return each image mixed with the previous one."""
        own = ops.cast(self._own(ops.shape(images)), images.dtype)
        return own * images + (1 - own) * ops.roll(images, 1, axis=0)

    @abstractmethod
    def kept(self, shape: Any) -> Any:
        """Return the share that each image of a batch of this shape keeps, (n,) float32."""

    @abstractmethod
    def _own(self, shape: Any) -> Any:
        """Return the share of each pixel that is the image's own, the same for all channels."""


@keras.saving.register_keras_serializable("cifake_tune")
class MixUp(Mixing):
    """Blends each image with the previous one of its batch (Zhang et al., https://arxiv.org/abs/1710.09412)."""

    def kept(self, shape: Any) -> Any:
        """Return the shares."""
        return 1 - _shares(shape)

    def _own(self, shape: Any) -> Any:
        return self.kept(shape)[:, None, None, None]


@keras.saving.register_keras_serializable("cifake_tune")
class CutMix(Mixing):
    """Pastes a square of the previous image into each image (Yun et al., https://arxiv.org/abs/1905.04899).

    The square may be anywhere, and wraps around the edges.
    """

    def kept(self, shape: Any) -> Any:
        """Return the shares."""
        _, height, width, _ = shape
        sides = _sides(shape)
        return 1 - ops.minimum(sides, height) * ops.minimum(sides, width) / (height * width)

    def _own(self, shape: Any) -> Any:
        _, height, width, _ = shape
        rows, columns = self._covered(shape, height), self._covered(shape, width)
        return 1 - (rows[:, :, None] * columns[:, None, :])[..., None]

    def _covered(self, shape: Any, size: int) -> Any:
        """Return (n, size): 1 for the rows, or columns, that each image's square covers, else 0."""
        first = keras.random.randint((shape[0], 1), 0, size, seed=self.seed_generator)
        after = ops.cast((ops.arange(size) - first) % size, "float32")
        return ops.cast(after < _sides(shape)[:, None], "float32")


MIXINGS: dict[str, type[Mixing]] = {"mixup": MixUp, "cutmix": CutMix}


def _shares(shape: Any) -> Any:
    """Return the share of the previous image, (n,), from 0 to 0.5."""
    return (ops.arange(shape[0], dtype="float32") + 0.5) / ops.cast(2 * shape[0], "float32")


def _sides(shape: Any) -> Any:
    """Return the side of each image's square, (n,), in whole pixels. A square covers at most half of the image."""
    return ops.floor(ops.sqrt(_shares(shape) * shape[1] * shape[2]))


@keras.saving.register_keras_serializable("cifake_tune")
class MixedModel(keras.Model):
    """A model with one `Mixing` layer. In training, its loss is the weighted sum of both labels' compiled losses."""

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        """Return the loss of a batch."""
        if not training:
            return super().compute_loss(x, y, y_pred, sample_weight, training=False)
        kept = next(layer for layer in self.layers if isinstance(layer, Mixing)).kept(ops.shape(x))
        weights = ops.ones_like(kept) if sample_weight is None else ops.reshape(sample_weight, (-1,))
        own = super().compute_loss(x, y, y_pred, weights * kept)
        other = super().compute_loss(x, ops.roll(y, 1, axis=0), y_pred, ops.roll(weights, 1) * (1 - kept))
        return own + other
