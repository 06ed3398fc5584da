"""What the training images are like, and what of a new image is not."""

from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from tuner.data.manifest import Manifest
from tuner.report.result import Familiar
from tuner.report.statistics import Interval

RARE = 0.001
"""So many of the training images are darker than the range that is called usual, and so many brighter."""

FORMATS = {
    ".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG", ".webp": "WEBP", ".bmp": "BMP", ".ppm": "PPM", ".gif": "GIF",
    ".tif": "TIFF", ".tiff": "TIFF",
}  # fmt: skip


def familiar(manifest: Manifest, images: NDArray[np.uint8]) -> Familiar:
    """Return what the training images are like; `images` (n, h, w, 3) are some of them."""
    suffixes = {PurePosixPath(name).suffix.lower() for name in manifest.splits["train"].names}
    height, width, _ = manifest.image_shape
    look = looks(images)
    return Familiar(
        height=height,
        width=width,
        formats=tuple(sorted({FORMATS[suffix] for suffix in suffixes if suffix in FORMATS})),
        resized=manifest.resize is not None,
        brightness=_usual(look[:, 0]),
        contrast=_usual(look[:, 1]),
        saturation=_usual(look[:, 2]),
    )


def looks(images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return each image's brightness, contrast and saturation (n, 3), as `Familiar` defines them."""
    found = []
    for start in range(0, len(images), 1000):
        pixels = np.asarray(images[start : start + 1000])
        flat = pixels.reshape(len(pixels), -1)
        spread = pixels.max(axis=3).astype(np.int16) - pixels.min(axis=3)
        found.append(np.stack([flat.mean(axis=1), flat.std(axis=1), spread.mean(axis=(1, 2))], axis=1))
    return np.concatenate(found)


def _usual(values: NDArray[np.float64]) -> Interval:
    low, high = np.quantile(values, (RARE, 1 - RARE))
    return float(low), float(high)
