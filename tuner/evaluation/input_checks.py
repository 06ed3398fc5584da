"""What the training images are like, and what of a new image is not."""

import numpy as np
from numpy.typing import NDArray

from tuner.data.decode import SIXTEEN_BITS, Look
from tuner.data.manifest import Manifest
from tuner.evaluation.result import TrainingProfile
from tuner.evaluation.scores import Interval

RARE = 0.001
"""So many of the training images are darker than the range that is called usual, and so many brighter."""

FORMATS = {
    ".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG", ".webp": "WEBP", ".bmp": "BMP", ".ppm": "PPM", ".gif": "GIF",
    ".tif": "TIFF", ".tiff": "TIFF",
}  # fmt: skip


def training_profile(manifest: Manifest, images: NDArray[np.uint8]) -> TrainingProfile:
    """Return what the training images are like; `images` (n, h, w, 3) are some of them."""
    suffixes = {f".{name.rpartition('.')[2].lower()}" for name in manifest.splits["train"].names}
    height, width, _ = manifest.image_shape
    look = image_statistics(images)
    return TrainingProfile(
        height=height,
        width=width,
        formats=tuple(sorted({FORMATS[suffix] for suffix in suffixes if suffix in FORMATS})),
        resized=manifest.resize is not None,
        brightness=_usual(look[:, 0]),
        contrast=_usual(look[:, 1]),
        saturation=_usual(look[:, 2]),
    )


def image_statistics(images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return each image's brightness, contrast and saturation (n, 3), as `TrainingProfile` defines them."""
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


def input_warnings(usual: TrainingProfile, seen: Look, format_: str, pixels: NDArray[np.uint8]) -> tuple[str, ...]:
    """Return a sentence for each way an image differs from the training images.

    `pixels` are as the model gets them: uint8, (height, width, 3).
    """
    said = [_size(usual, seen), _format(usual, format_), _MODES.get(seen.mode, f"has the colour mode {seen.mode}")]
    if seen.mode == "RGB":
        said[-1] = ""
    brightness, contrast, saturation = image_statistics(pixels[None])[0]
    said += [
        _beyond(brightness, usual.brightness, "darker", "brighter"),
        _beyond(contrast, usual.contrast, "has less contrast", "has more contrast"),
        _beyond(saturation, usual.saturation, "less colourful", "more colourful") if seen.mode == "RGB" else "",
    ]
    return tuple(sentence for sentence in said if sentence)


_MODES = {
    "L": "is greyscale",
    **dict.fromkeys(SIXTEEN_BITS, "is greyscale, of 16 bits"),
    "1": "is black and white",
    "P": "has a palette instead of full colours",
    "PA": "has a palette instead of full colours, and transparency, which was dropped",
    "LA": "is greyscale with transparency, which was dropped",
    "RGBA": "has transparency, which was dropped",
    "CMYK": "has the colours of print (CMYK)",
}


def _size(usual: TrainingProfile, seen: Look) -> str:
    if (seen.height, seen.width) == (usual.height, usual.width) or usual.resized:
        return ""
    theirs = f"{usual.width} x {usual.height}"
    return f"is {seen.width} x {seen.height} pixels and was resized; the training images are {theirs}"


def _format(usual: TrainingProfile, format_: str) -> str:
    if not usual.formats or format_ in usual.formats:
        return ""
    said = f"is {format_}; the training images are {' and '.join(usual.formats)}"
    return f"{said}, whose compression leaves traces that this one may lack" if usual.formats == ("JPEG",) else said


def _beyond(value: float, usual: Interval, less: str, more: str) -> str:
    if usual[0] <= value <= usual[1]:
        return ""
    word = less if value < usual[0] else more
    return f"{word if word.startswith('has') else f'is {word}'} than 999 in 1,000 training images"
