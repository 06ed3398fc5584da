"""Corruptions that images undergo in practice: recompression, blur, noise, resizing, flips.

All corruptions take and return uint8 arrays (n, h, w, 3).
"""

import io
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tuner.data.decode import decode

Images = NDArray[np.uint8]


@dataclass(frozen=True)
class Corruption:
    """A named change to images."""

    name: str
    apply: Callable[[Images, np.random.Generator], Images]


def _jpeg(quality: int) -> Corruption:
    def recompressed(image: Images) -> Images:
        file = io.BytesIO()
        Image.fromarray(image).save(file, "JPEG", quality=quality, subsampling="4:2:0")
        return decode(file.getvalue())

    def apply(images: Images, _: np.random.Generator) -> Images:
        return np.stack([recompressed(image) for image in np.ascontiguousarray(images)])

    return Corruption(f"JPEG {quality}", apply)


def _blur(images: Images, _: np.random.Generator) -> Images:
    from scipy.ndimage import gaussian_filter

    blurred = gaussian_filter(images.astype(np.float32), (0, BLUR_PX, BLUR_PX, 0), mode="nearest")
    return np.asarray(blurred.round().clip(0, 255), np.uint8)


def _noise(images: Images, generator: np.random.Generator) -> Images:
    noisy = images + NOISE * generator.standard_normal(images.shape, np.float32)
    return noisy.round().clip(0, 255).astype(np.uint8)


def _resize(images: Images, _: np.random.Generator) -> Images:
    height, width = images.shape[1:3]
    small = max(1, round(width * RESIZE)), max(1, round(height * RESIZE))

    def down_and_up(image: Images) -> Images:
        reduced = Image.fromarray(image).resize(small, Image.Resampling.BICUBIC)
        return np.asarray(reduced.resize((width, height), Image.Resampling.BICUBIC))

    return np.stack([down_and_up(image) for image in np.ascontiguousarray(images)])


BLUR_PX = 0.7
"""Standard deviation of the Gaussian, which is a slight defocus at 32 x 32 pixels."""
NOISE = np.float32(8)
"""Standard deviation of the noise, out of 255, as of a small sensor in low light."""
RESIZE = 0.75

CORRUPTIONS = (
    Corruption("none", lambda images, _: images),
    _jpeg(90),
    _jpeg(75),
    _jpeg(50),
    Corruption(f"blur {BLUR_PX:g} px", _blur),
    Corruption(f"noise {NOISE:g}/255", _noise),
    Corruption(f"resize {RESIZE:.0%}", _resize),
    Corruption("flip left-right", lambda images, _: images[:, :, ::-1]),
    Corruption("flip upside down", lambda images, _: images[:, ::-1]),
)
"""`none` is first because the others are compared with it. JPEG uses 4:2:0 chroma subsampling. Resizing reduces an
image and enlarges it again."""
