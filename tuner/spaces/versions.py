"""Versions of the built-in spaces: with another version, the same hyperparameters are those of another network."""

from tuner.config.space_settings import Space
from tuner.spaces.image_scale import image_scale

FIRST = 1
"""The networks of version 0.1.0."""
REDUCING = 2
"""The first convolution reduces images of 48 x 48 pixels or more (`tuner.spaces.image_scale`)."""


def space_version(space: Space, image_shape: tuple[int, int, int] | None) -> int:
    """Return the version of a space's networks for images of this shape (height, width, channels).

    The versions do not differ in smaller images, nor in a user's own space, which may bring its own data (None).
    """
    if image_shape is None or space.import_ is not None:
        return FIRST
    height, width, _ = image_shape
    return REDUCING if image_scale(height, width) > 1 else FIRST
