"""The reliability diagram as a PNG: accuracy by confidence."""

import io
import textwrap
from typing import TYPE_CHECKING

from tuner.evaluation.result import Bin, Metrics
from tuner.report.calibration_text import calibration_line
from tuner.report.figures.style import DPI, INK, MUTED
from tuner.report.text import counted, percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BLUE, ORANGE, LINE = "#1f66a8", "#c2541b", "#c9ced6"


def calibration_png(metrics: Metrics) -> bytes:
    """Return a PNG of the accuracy by confidence, uncalibrated and at the temperature, above the numbers of images."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    calibration = metrics.calibration
    assert calibration is not None
    figure = Figure(figsize=(5.6, 6.2), dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    upper, lower = figure.subplots(2, 1, height_ratios=(3.4, 1), sharex=True)
    figure.subplots_adjust(left=0.14, right=0.96, top=0.84, bottom=0.1, hspace=0.12)
    least = 1 / len(metrics.classes)
    upper.plot((least, 1), (least, 1), color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
    _points(upper, calibration.bins, BLUE, f"uncalibrated: error {percent(calibration.error)}")
    error_after = percent(calibration.error_at_temperature)
    series = [(calibration.bins, BLUE, 0.27)]
    if calibration.changes:
        label = f"at temperature {calibration.temperature:.2f}: error {error_after}"
        _points(upper, calibration.bins_at_temperature, ORANGE, label)
        series.append((calibration.bins_at_temperature, ORANGE, 0.73))
    upper.set_ylabel("accuracy", color=MUTED)
    upper.legend(loc="upper left", frameon=False, fontsize=9, labelcolor=INK)
    for bins, colour, shift in series:
        width = bins[0].high - bins[0].low
        lower.bar(
            [bin_.low + shift * width for bin_ in bins],
            [bin_.images for bin_ in bins],
            width=0.42 * width,
            color=colour,
        )
    lower.set_ylabel("images", color=MUTED)
    lower.set_xlabel("confidence: the probability of the predicted class", color=MUTED)
    upper.set_xlim(max(0.0, least - 0.05), 1.02)
    for axes in (upper, lower):
        axes.tick_params(colors=MUTED, labelsize=9)
        axes.grid(color=LINE, linewidth=0.5, alpha=0.6)
        axes.set_axisbelow(True)
        for spine in axes.spines.values():
            spine.set_color(LINE)
    figure.text(0.5, 0.945, "Calibration", ha="center", fontsize=17, color=INK, fontweight="bold")
    under = f"{counted(metrics.images, 'test image')} · {calibration_line(calibration)}"
    figure.text(0.5, 0.895, textwrap.fill(under, 78), ha="center", va="center", fontsize=9.5, color=MUTED)
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=DPI, metadata={"Software": None})
    return png.getvalue()


def _points(axes: "Axes", bins: tuple[Bin, ...], colour: str, label: str) -> None:
    low = [bin_.accuracy - bin_.accuracy_interval_95[0] for bin_ in bins]
    high = [bin_.accuracy_interval_95[1] - bin_.accuracy for bin_ in bins]
    axes.errorbar(
        [bin_.confidence for bin_ in bins],
        [bin_.accuracy for bin_ in bins],
        yerr=(low, high),
        color=colour, marker="o", markersize=5, linewidth=1.4, elinewidth=1, capsize=2.5, label=label,
    )  # fmt: skip
