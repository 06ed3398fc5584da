"""A heatmap as a PNG: the image as the model saw it and, beside it, the parts at which the model looked."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIDE_PX = 256
GAP_PX = 8
STRONGEST = 0.65
"""Opacity of the colour over the image where the heat is 1."""


def heatmap_png(image: NDArray[np.uint8], heat: NDArray[np.float32]) -> bytes:
    """Return a PNG of an image (h, w, 3) and its heatmap (h, w), 0 to 1; small images are enlarged."""
    from matplotlib import colormaps

    height, width = heat.shape
    factor = max(1, round(SIDE_PX / max(height, width)))
    size = width * factor, height * factor
    large = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.NEAREST), np.float32)
    smooth = np.asarray(Image.fromarray(heat).resize(size, Image.Resampling.BICUBIC)).clip(0, 1)
    colour = 255 * colormaps["inferno"](smooth)[..., :3]
    share = STRONGEST * smooth[..., None]
    gap = np.full((large.shape[0], GAP_PX, 3), 255, np.float32)
    # the image is darkened because bright parts would hide the heat
    page = np.concatenate([large, gap, 0.6 * large * (1 - share) + colour * share], axis=1)
    png = io.BytesIO()
    Image.fromarray(page.round().clip(0, 255).astype(np.uint8)).save(png, "PNG")
    return png.getvalue()
