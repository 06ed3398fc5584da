"""The robustness card as a PNG: the accuracy on corrupted images, beside samples of these images."""

import io

import numpy as np
from numpy.typing import NDArray

from tuner.evaluation.result import Metrics
from tuner.report.figures.style import DPI, INK, MUTED
from tuner.report.text import counted, percent

BLUE, ORANGE, LINE = "#1f66a8", "#c2541b", "#c9ced6"
ROW, TOP, BOTTOM = 0.62, 1.0, 0.62  # inches


def robustness_png(metrics: Metrics, samples: NDArray[np.uint8]) -> bytes:
    """Return a PNG. `samples` are (classes, corruptions, h, w, 3), with corruptions in the order of the metrics."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    card = metrics.robustness
    assert card is not None
    rows, classes = card.disturbances, len(samples)
    width, height = 7.4, TOP + ROW * len(rows) + BOTTOM
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    tiles = 1.55 + ROW * classes
    axes = figure.add_axes((tiles / width, BOTTOM / height, (width - tiles - 0.95) / width, ROW * len(rows) / height))
    # one set of axes, in inches, for all samples, because a set for each would take most of the time
    pictures = figure.add_axes((0, 0, 1, 1))
    unchanged = rows[0]
    for number, row in enumerate(rows):
        low, high = row.accuracy_interval_95
        colour = BLUE if high >= unchanged.accuracy_interval_95[0] else ORANGE
        axes.plot((low, high), (number, number), color=colour, linewidth=2, solid_capstyle="butt")
        axes.plot(row.accuracy, number, "o", color=colour, markersize=7)
        axes.text(1.02, number, percent(row.accuracy), transform=axes.get_yaxis_transform(), va="center", color=INK)
        middle = BOTTOM + ROW * (len(rows) - number - 0.5)
        figure.text(0.18 / width, middle / height, row.disturbance, va="center", fontsize=10, color=INK)
        for index in range(classes):
            left, half = 1.5 + ROW * index, ROW * 0.44
            extent = (left, left + 2 * half, middle - half, middle + half)
            pictures.imshow(samples[index, number], extent=extent, interpolation="nearest")
    pictures.set(xlim=(0, width), ylim=(0, height))
    pictures.axis("off")
    axes.axvline(unchanged.accuracy, color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
    axes.set_ylim(len(rows) - 0.5, -0.5)
    lowest = min(row.accuracy_interval_95[0] for row in rows)
    axes.set_xlim(max(0.0, lowest - 0.03), min(1.005, max(row.accuracy_interval_95[1] for row in rows) + 0.02))
    axes.set_yticks([])
    axes.xaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
    axes.tick_params(colors=MUTED, labelsize=9)
    axes.set_xlabel("accuracy, 95 % interval", color=MUTED)
    axes.grid(axis="x", color=LINE, linewidth=0.5)
    for spine in axes.spines.values():
        spine.set_color(LINE)
    figure.text(0.5, 1 - 0.4 / height, "Robustness", ha="center", fontsize=17, color=INK, fontweight="bold")
    under = f"{counted(card.images, 'test image')}, chosen by seed {card.seed}"
    figure.text(0.5, 1 - 0.72 / height, under, ha="center", fontsize=9.5, color=MUTED)
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=DPI, metadata={"Software": None})
    return png.getvalue()
