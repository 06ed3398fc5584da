"""The confusion matrix as a PNG, drawn without a display."""

import io
from typing import TYPE_CHECKING, Any

from tuner.evaluation.result import Metrics
from tuner.report.figures.confusion_heat_map import heat_map_png
from tuner.report.figures.style import DPI, INK, MUTED, RIGHT, WRONG, accuracy_title, short_names, text_colour
from tuner.report.text import percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_CELLS = 30
"""Maximum number of classes whose cells are drawn with their numbers. The numbers of more could not be read, and the
picture's size and cost would grow with the square of the classes: 100 classes took 36 s and 0.9 GiB."""


def confusion_matrix_png(metrics: Metrics) -> bytes:
    """Return a PNG. Each cell shows its images and their share of the row, on blue if correct, on orange if wrong.

    More than MOST_CELLS classes are drawn as a heat map without numbers.
    """
    if len(metrics.classes) > MOST_CELLS:
        return heat_map_png(metrics)
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    count = len(metrics.classes)
    cell = 1.7 if count <= 2 else max(0.62, 1.45 - 0.11 * count)  # inches
    side = cell * count
    names = short_names(metrics.classes)
    slanted = max(len(name) for name in names) * 0.095 > cell
    longest = 0.085 * max(len(name) for name in names)
    left, bottom = max(1.35, longest + 0.75), (longest * 0.75 + 0.95 if slanted else 0.95)
    top, right = 1.25, 0.45
    width, height = max(left + side + right, 5.6), bottom + side + top
    left += (width - left - side - right) / 2

    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_axes((left / width, bottom / height, side / width, side / height))
    _cells(axes, metrics, points=72 * cell)
    _axes(axes, metrics, names, slanted)
    accuracy_title(figure, metrics, height)

    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=DPI, metadata={"Software": None})
    return png.getvalue()


def _cells(axes: "Axes", metrics: Metrics, points: float) -> None:
    from matplotlib.colors import LinearSegmentedColormap
    from matplotlib.patches import FancyBboxPatch

    shades = {
        True: LinearSegmentedColormap.from_list("right", RIGHT),
        False: LinearSegmentedColormap.from_list("wrong", WRONG),
    }
    digits = max(len(f"{images:,}") for row in metrics.confusion_matrix for images in row)
    large = min(22.0, points * 0.19, points * 0.8 / (0.62 * digits))
    small = max(5.0, min(large * 0.62, points * 0.8 / (0.62 * 6)))
    for truth, row in enumerate(metrics.confusion_matrix):
        for prediction, images in enumerate(row):
            share = images / sum(row) if sum(row) else 0.0
            # The power makes the shades of orange change fastest near 0, so that a mistake of 5 % is visible.
            colour: Any = shades[truth == prediction](share if truth == prediction else share**0.6)
            box = FancyBboxPatch(
                (prediction - 0.47, truth - 0.47), 0.94, 0.94,
                boxstyle="round,pad=0,rounding_size=0.05", facecolor=colour, edgecolor="none",
            )  # fmt: skip
            axes.add_patch(box)
            ink = text_colour(colour)
            empty = images == 0
            axes.text(
                prediction, truth - (0 if empty else 0.09), f"{images:,}", ha="center", va="center",
                fontsize=large * (0.75 if empty else 1), color=MUTED if empty else ink,
                fontweight="bold" if truth == prediction else "normal",
            )  # fmt: skip
            if not empty:
                axes.text(
                    prediction, truth + 0.2, percent(share, 1), ha="center", va="center", fontsize=small, color=ink
                )


def _axes(axes: "Axes", metrics: Metrics, names: list[str], slanted: bool) -> None:
    count = len(names)
    supports = [sum(row) for row in metrics.confusion_matrix]
    size = 11 if count <= 6 else 9
    axes.set_xlim(-0.5, count - 0.5)
    axes.set_ylim(count - 0.5, -0.5)
    axes.set_xticks(range(count), names, fontsize=size, color=INK)
    if slanted:
        for label in axes.get_xticklabels():
            label.set(rotation=45, ha="right", rotation_mode="anchor")
    rows = [f"{name}\n{support:,}" if count <= 6 else name for name, support in zip(names, supports, strict=True)]
    axes.set_yticks(range(count), rows, fontsize=size, color=INK)
    for label in (*axes.get_xticklabels(), *axes.get_yticklabels()):
        label.set_parse_math(False)  # a class may be called $x$
    axes.set_xlabel("predicted", fontsize=11, color=MUTED, labelpad=8)
    axes.set_ylabel("truth", fontsize=11, color=MUTED, labelpad=8)
    axes.tick_params(length=0, pad=6)
    for spine in axes.spines.values():
        spine.set_visible(False)
