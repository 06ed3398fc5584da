"""The confusion matrix of many classes as a PNG: a heat map without numbers, drawn as a single image."""

import io
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tuner.evaluation.result import Metrics
from tuner.report.figures.style import DPI, INK, MUTED, RIGHT, WRONG, accuracy_title, short_names

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SIDE_IN = 7.2
"""Side of the map, in inches."""
LABELS = 30
"""Maximum number of class names on an axis."""
CELLS = 1200
"""Maximum number of rows and columns that are drawn, which leaves at least one pixel for each."""
WIDTH_OF_A_LETTER_IN = 0.062
MAX_IMAGE_COUNT = 2**62


def heat_map_png(metrics: Metrics) -> bytes:
    """Return a PNG. A cell is the share of its row, in blue on the diagonal (correct), elsewhere in orange."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names = short_names(metrics.classes)
    step = -(-len(names) // LABELS)
    longest = WIDTH_OF_A_LETTER_IN * max(len(name) for name in names[::step])
    left, bottom, top, right = longest + 0.75, 0.75 * longest + 1.5, 1.25, 0.45
    width, height = left + SIDE_IN + right, bottom + SIDE_IN + top
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_axes((left / width, bottom / height, SIDE_IN / width, SIDE_IN / height))
    count = len(names)
    axes.imshow(_colours(metrics), extent=(-0.5, count - 0.5, count - 0.5, -0.5), interpolation="nearest")
    _label(axes, names, step)
    _legend(figure, left, width, height)
    accuracy_title(figure, metrics, height)
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=DPI, metadata={"Software": None})
    return png.getvalue()


def _colours(metrics: Metrics) -> NDArray[np.uint8]:
    """Return the colours of the cells, (rows, columns, 3). If classes share a cell, the largest share is shown."""
    counts = np.array([[min(n, MAX_IMAGE_COUNT) for n in row] for row in metrics.confusion_matrix], np.float64)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    correct = np.diag(np.diag(shares))
    wrong = shares - correct
    block = -(-len(shares) // CELLS)
    correct, wrong = _largest(correct, block), _largest(wrong, block)
    right, mistaken = _shades()
    on_diagonal = np.eye(len(correct), dtype=bool)[..., None]
    # The power makes the shades change fastest near 0, so that a single mistake is visible.
    picture = np.where(on_diagonal, right(correct)[..., :3], mistaken(wrong**0.4)[..., :3])
    empty = (wrong == 0)[..., None] & ~on_diagonal
    return np.asarray(np.where(empty, 1.0, picture) * 255, np.uint8)


def _largest(cells: NDArray[np.float64], block: int) -> NDArray[np.float64]:
    """Return the largest value of each block of cells."""
    if block == 1:
        return cells
    missing = -len(cells) % block
    padded = np.pad(cells, ((0, missing), (0, missing)))
    blocks = len(padded) // block
    return np.asarray(padded.reshape(blocks, block, blocks, block).max(axis=(1, 3)))


def _shades() -> tuple[Any, Any]:
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("right", RIGHT), LinearSegmentedColormap.from_list("wrong", WRONG)


def _label(axes: "Axes", names: list[str], step: int) -> None:
    places = range(0, len(names), step)
    shown = [names[place] for place in places]
    axes.set_xticks(places, shown, fontsize=7, color=INK, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(places, shown, fontsize=7, color=INK)
    for label in (*axes.get_xticklabels(), *axes.get_yticklabels()):
        label.set_parse_math(False)  # a class may be called $x$
    every = "" if step == 1 else f", every {step}th named"
    axes.set_xlabel(f"predicted ({len(names):,} classes{every})", fontsize=10, color=MUTED, labelpad=6)
    axes.set_ylabel("truth", fontsize=10, color=MUTED, labelpad=6)
    axes.tick_params(length=2, pad=3, color=MUTED)
    for spine in axes.spines.values():
        spine.set_color("#c9ced6")


def _legend(figure: "Figure", left: float, width: float, height: float) -> None:
    """Draw both scales of colours below the map, with the shares that they stand for."""
    shares = np.linspace(0, 1, 256)[None]
    right, mistaken = _shades()
    for number, (colours, title) in enumerate(
        ((right(shares), "correct, on the diagonal"), (mistaken(shares**0.4), "mistakes"))
    ):
        start = left + number * SIDE_IN / 2
        scale = figure.add_axes((start / width, 0.42 / height, 0.42 * SIDE_IN / width, 0.14 / height))
        scale.imshow(colours[..., :3], aspect="auto", extent=(0, 1, 0, 1))
        scale.set_yticks([])
        scale.set_xticks([0, 0.1, 0.5, 1], ["0 %", "10 %", "50 %", "100 % of the row"], fontsize=7, color=MUTED)
        scale.tick_params(length=2, pad=2, color=MUTED)
        scale.set_title(title, fontsize=8, color=MUTED, loc="left", pad=3)
        for spine in scale.spines.values():
            spine.set_visible(False)
