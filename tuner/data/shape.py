"""The shape that all images of a data set have, and what to do about images of other sizes and modes."""

import math
from collections.abc import Mapping

from tuner.data.decode import Conversion, ImageHeader, is_convertible
from tuner.data.processes import FileGroup, add_groups
from tuner.errors import DataError

_LARGE_PIXELS = 512 * 512
"""Number of pixels above which a model for images of this size is rarely meant."""
_COMMON_SIZE = (224, 224)
_CONVERT = "--convert (setting data.convert: true)"


def one_shape(by_header: Mapping[ImageHeader, FileGroup], conversion: Conversion) -> tuple[int, int, int]:
    """Return the shape that all images have or are resized to. Raises DataError if sizes or modes are not allowed."""
    sizes = _sizes(by_header)
    usual, *others = sizes
    needs_resize = bool(others) and conversion.resize is None
    for header, group in by_header.items():
        if header.mode != "RGB" and not is_convertible(header.mode):
            raise DataError(
                f"{group.first}: has mode {header.mode} (images of this size and mode: {group.count}), but only images "
                "of 8 or 16 bits per channel are supported. Convert or remove these images."
            )
        if header.mode != "RGB" and not conversion.convert:
            also = f" Sizes differ, too: also use {_resize_option(usual)}." if needs_resize else ""
            raise DataError(
                f"{group.first}: has mode {header.mode} instead of RGB (images of this size and mode: {group.count}). "
                f"Use {_CONVERT} to convert all images to RGB.{also}"
            )
    if conversion.resize is not None:
        return (*conversion.resize, 3)
    if needs_resize:
        (height, width), count = others[0], sizes[usual].count
        total = sum(group.count for group in sizes.values())
        size = f"{usual[0]}x{usual[1]} (height x width; "
        most = (
            f"most images are {size}" if count * 2 > total else f"the most frequent size is {size}{count} of {total}; "
        )
        raise DataError(
            f"{sizes[others[0]].first}: is {height}x{width}, but {most}{len(sizes)} sizes in all). Use "
            f"{_resize_option(usual)} to resize all images."
        )
    return (*usual, 3)


def advice(by_header: Mapping[ImageHeader, FileGroup]) -> str:
    """Return which options are needed to pack such images; "" if none is."""
    usual, *others = _sizes(by_header) or [(0, 0)]
    options = [_resize_option(usual)] if others else []
    if any(header.mode != "RGB" for header in by_header):
        options.append(_CONVERT)
    return f"Pack these images with {' and '.join(options)}." if options else ""


def _sizes(by_header: Mapping[ImageHeader, FileGroup]) -> dict[tuple[int, int], FileGroup]:
    """Return the images by height and width, the most frequent size first."""
    sizes: dict[tuple[int, int], FileGroup] = {}
    for header, group in by_header.items():
        add_groups(sizes, {(header.height, header.width): group})
    return dict(sorted(sizes.items(), key=lambda item: -item[1].count))


def _resize_option(usual: tuple[int, int]) -> str:
    """Return how to resize: to the most frequent size, or to a common one if that is as large as photos are."""
    height, width = usual if math.prod(usual) <= _LARGE_PIXELS else _COMMON_SIZE
    return f"--resize {height}x{width} (setting data.resize: [{height}, {width}])"


def size_warning(shape: tuple[int, int, int], images: int) -> tuple[str, ...]:
    """Return a warning if the images are larger than most models can use."""
    if math.prod(shape[:2]) <= _LARGE_PIXELS:
        return ()
    return (
        f"Images of {shape[0]}x{shape[1]} (height x width) take {images * math.prod(shape) / 2**30:,.1f} GiB when "
        f"packed, and training on them is slow. For most models, use {_resize_option(shape[:2])}.",
    )
