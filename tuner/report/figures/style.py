"""Colours and texts that several figures share."""

import textwrap
from collections.abc import Sequence
from typing import Any

from tuner.evaluation.result import Metrics
from tuner.printable import printable
from tuner.report.text import counted, interval, percent

DPI = 200
INK, MUTED = "#1f2430", "#667085"
RIGHT = ("#eef4fb", "#9cc3e6", "#3f83bf", "#123f73")  # shades of blue: correct predictions, on the diagonal
WRONG = ("#fdf3ec", "#f6b98e", "#dd6b30", "#8a2f0b")  # shades of orange: mistakes
LONGEST_NAME = 24
"""Maximum number of characters of a class name."""


def short_names(classes: Sequence[str]) -> list[str]:
    """Return the names of the classes, cut and without control characters."""
    names = [printable(name) for name in classes]
    return [textwrap.shorten(name, LONGEST_NAME, placeholder="…") or name[:LONGEST_NAME] for name in names]


def accuracy_title(figure: Any, metrics: Metrics, height: float) -> None:
    """Write accuracy, interval, study and trial at the top of a figure that is `height` inches high."""
    lines = (
        (f"Accuracy {percent(metrics.accuracy)}", 17, INK, "bold", 0.42),
        (
            f"95 % interval {interval(metrics.accuracy_interval_95)} · {counted(metrics.images, 'test image')}",
            10.5, INK, "normal", 0.76,
        ),
        (f"study {metrics.study} · trial {metrics.best_trial} · shares are of the row", 8.5, MUTED, "normal", 1.02),
    )  # fmt: skip
    for text, size, colour, weight, inches in lines:
        figure.text(
            0.5, 1 - inches / height, text, ha="center", va="center", fontsize=size, color=colour, fontweight=weight
        )


def text_colour(background: Any) -> str:
    """Return the colour, ink or white, with more contrast on `background` (WCAG 2.2, relative luminance)."""
    from matplotlib.colors import to_rgb

    def luminance(colour: Any) -> float:
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    on = luminance(background)
    contrast = {ink: (max(on, luminance(ink)) + 0.05) / (min(on, luminance(ink)) + 0.05) for ink in (INK, "white")}
    return max(contrast, key=lambda ink: contrast[ink])
