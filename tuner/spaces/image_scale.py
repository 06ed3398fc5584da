"""How the built-in spaces reduce images that are larger than those for which they were published."""

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras

SIDE_PX = 32
"""Side of the images of CIFAKE and CIFAR-10, for which both built-in spaces were published."""
LEAST_OUTPUT_PX = 8
"""Minimum height and width to which images are reduced."""


def image_scale(height: int, width: int) -> int:
    """Return the factor by which the first convolution reduces an image: 1 for 32 x 32 pixels, 7 for 224 x 224.

    So every image becomes about as large as one of 32 x 32 pixels, and the network behind it keeps its size: without
    that, `seed` would have up to 1.2 billion weights at 224 x 224 pixels, and both spaces 49 times the activations.
    """
    by_area = round(math.sqrt(height * width) / SIDE_PX)
    return max(1, min(by_area, min(height, width) // LEAST_OUTPUT_PX))


def patch_layers(height: int, width: int, scale: int, dtype: str) -> "list[keras.Layer]":
    """Return layers that make each square of `scale` x `scale` pixels one pixel with all their channels.

    A convolution of k x k behind them is one of `scale * k` x `scale * k` pixels with strides of `scale`. As such, its
    gradient would take five times as long on a CPU in bfloat16. Pixels beyond the last whole square are cut off. There
    are no layers if `scale` is 1.
    """
    if scale == 1:
        return []
    import keras

    layers, rows, columns = keras.layers, height // scale, width // scale
    bottom, right = height % scale, width % scale
    crop = [layers.Cropping2D(((0, bottom), (0, right)), dtype=dtype)] if bottom or right else []
    return [
        *crop,
        layers.Reshape((rows, scale, columns, scale * 3), dtype=dtype),
        layers.Permute((1, 3, 2, 4), dtype=dtype),
        layers.Reshape((rows, columns, scale * scale * 3), dtype=dtype),
    ]
