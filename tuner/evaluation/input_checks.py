"""Checks of new images: a profile of the training images, and warnings about images that differ from it."""

import numpy as np
from numpy.typing import NDArray

from tuner.data.decode import SIXTEEN_BITS, ImageHeader
from tuner.data.manifest import Manifest
from tuner.evaluation.result import TrainingProfile
from tuner.evaluation.scores import Interval

RARE = 0.001
"""Share of training images below the usual range. The same share is above it."""
AT_ONCE_PX = 1000 * 32 * 32
"""Number of pixels whose statistics are computed at a time, because they take 24 bytes each as floats."""

FORMATS = {
    ".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG", ".webp": "WEBP", ".bmp": "BMP", ".ppm": "PPM", ".gif": "GIF",
    ".tif": "TIFF", ".tiff": "TIFF",
}  # fmt: skip


def training_profile(manifest: Manifest, images: NDArray[np.uint8]) -> TrainingProfile:
    """Return the profile of the training images; `images` (n, h, w, 3) are a sample of them."""
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
    statistics = []
    at_once = max(1, AT_ONCE_PX // (images.shape[1] * images.shape[2]))
    for start in range(0, len(images), at_once):
        pixels = np.asarray(images[start : start + at_once])
        flat = pixels.reshape(len(pixels), -1)
        spread = pixels.max(axis=3).astype(np.int16) - pixels.min(axis=3)
        statistics.append(np.stack([flat.mean(axis=1), flat.std(axis=1), spread.mean(axis=(1, 2))], axis=1))
    return np.concatenate(statistics)


def _usual(values: NDArray[np.float64]) -> Interval:
    low, high = np.quantile(values, (RARE, 1 - RARE))
    return float(low), float(high)


def input_warnings(
    profile: TrainingProfile, header: ImageHeader, format_: str, pixels: NDArray[np.uint8]
) -> tuple[str, ...]:
    """Return a sentence for each way an image differs from the training images.

    `pixels` are as the model gets them: uint8, (height, width, 3).
    """
    mode = "" if header.mode == "RGB" else _MODES.get(header.mode, f"has the colour mode {header.mode}")
    warnings = [_size(profile, header), _format(profile, format_), mode]
    brightness, contrast, saturation = image_statistics(pixels[None])[0]
    warnings += [
        _beyond(brightness, profile.brightness, "darker", "brighter"),
        _beyond(contrast, profile.contrast, "has less contrast", "has more contrast"),
        _beyond(saturation, profile.saturation, "less colourful", "more colourful") if header.mode == "RGB" else "",
    ]
    return tuple(sentence for sentence in warnings if sentence)


_MODES = {
    "L": "is greyscale",
    **dict.fromkeys(SIXTEEN_BITS, "is 16-bit greyscale"),
    "1": "is black and white",
    "P": "has a palette instead of full colours",
    "PA": "has a palette instead of full colours, and transparency, which was dropped",
    "LA": "is greyscale with transparency, which was dropped",
    "RGBA": "has transparency, which was dropped",
    "CMYK": "has print colours (CMYK)",
}


def _size(profile: TrainingProfile, header: ImageHeader) -> str:
    if (header.height, header.width) == (profile.height, profile.width) or profile.resized:
        return ""
    expected = f"{profile.height} x {profile.width}"
    return (
        f"is {header.height} x {header.width} pixels (height x width) and was resized, because the training images are "
        f"{expected}"
    )


def _format(profile: TrainingProfile, format_: str) -> str:
    if not profile.formats or format_ in profile.formats:
        return ""
    warning = f"is {format_}, but the training images are {' and '.join(profile.formats)}"
    traces = ", whose compression leaves traces that this image may lack" if profile.formats == ("JPEG",) else ""
    return warning + traces


def _beyond(value: float, usual: Interval, less: str, more: str) -> str:
    if usual[0] <= value <= usual[1]:
        return ""
    word = less if value < usual[0] else more
    return f"{word if word.startswith('has') else f'is {word}'} than 999 in 1,000 training images"
