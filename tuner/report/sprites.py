"""Combines many small images into one PNG, a sheet, and cuts them out of the sheet again."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

COLUMNS = 8
"""Number of images in a row."""
LARGEST_PX = 96
"""Maximum width and height of an image. Larger images are scaled down."""


def sheet(images: NDArray[np.uint8], columns: int = COLUMNS) -> bytes:
    """Return a PNG of images (n, h, w, 3), row by row without gaps; a black pixel if there are none."""
    if not len(images):
        return png(np.zeros((1, 1, 3), np.uint8))
    tiles = [np.asarray(_small(image)) for image in images]
    height, width, _ = tiles[0].shape
    rows = -(-len(tiles) // columns)
    page = np.zeros((rows * height, min(columns, len(tiles)) * width, 3), np.uint8)
    for index, tile in enumerate(tiles):
        y, x = index // columns * height, index % columns * width
        page[y : y + height, x : x + width] = tile
    return png(page)


def cut(sheet_png: bytes, images: int, columns: int = COLUMNS) -> list[bytes]:
    """Return the first `images` images of a sheet, as PNGs."""
    if not images:
        return []
    with Image.open(io.BytesIO(sheet_png), formats=("PNG",)) as opened:
        page = np.asarray(opened.convert("RGB"))
    rows = -(-images // columns)
    height, width = page.shape[0] // rows, page.shape[1] // min(columns, images)
    places = [(index // columns * height, index % columns * width) for index in range(images)]
    return [png(page[y : y + height, x : x + width]) for y, x in places]


def png(pixels: NDArray[np.uint8]) -> bytes:
    """Return the pixels (h, w, 3) as a PNG."""
    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(stream, "PNG", optimize=True)
    return stream.getvalue()


def _small(image: NDArray[np.uint8]) -> Image.Image:
    small = Image.fromarray(np.ascontiguousarray(image))
    small.thumbnail((LARGEST_PX, LARGEST_PX))  # leaves smaller images unchanged
    return small
