"""Charts of an evaluation: ROC curves, reliability, intervals of accuracies."""

from collections.abc import Mapping

from markupsafe import Markup

from tuner.evaluation.result import Calibration, RocCurve
from tuner.evaluation.scores import Interval
from tuner.report.charts.svg import Drawing, Scale, short

SIDE = 400.0
COLOURS = 6
"""Maximum number of ROC curves, because the page defines this many colours."""


def roc_chart(curves: Mapping[str, RocCurve]) -> Markup:
    """Return the ROC curves of at most six classes."""
    drawn = dict(list(curves.items())[:COLOURS])
    drawing = Drawing(SIDE, SIDE, f"ROC curve of {', '.join(map(str, drawn))}")
    x, y = Scale(0, 1, 48, SIDE - 12), Scale(0, 1, SIDE - 44, 12)
    drawing.left_axis(y, x.start, x.end, lambda value: f"{value:g}")
    drawing.bottom_axis(x, y.start, lambda value: f"{value:g}", "false positive rate")
    drawing.line((x(0), y(0)), (x(1), y(1)), "reference")
    for index, (name, curve) in enumerate(drawn.items()):
        points = zip(curve.false_positive_rate, curve.true_positive_rate, strict=True)
        drawing.path([(x(false), y(true)) for false, true in points], f"series s{index}", name)
        if len(drawn) > 1:
            drawing.bar(x(0.62), y(0.4) + 18 * index - 9, 10, 10, f"fill s{index}")
            drawing.text((x(0.62) + 16, y(0.4) + 18 * index), short(name, 16))
    return drawing.svg()


def reliability_chart(calibration: Calibration, classes: int) -> Markup:
    """Return the accuracy by confidence, uncalibrated and at the temperature, above the numbers of images."""
    drawing = Drawing(SIDE, SIDE, "Accuracy by confidence, uncalibrated and calibrated")
    all_bins = (*calibration.bins, *calibration.bins_at_temperature)
    low = max(0.0, min(1 / classes, *(bin_.low for bin_ in calibration.bins)) - 0.02)
    x, y = Scale(low, 1, 48, SIDE - 24), Scale(0, 1, SIDE - 110, 12)
    least = min(bin_.accuracy_interval_95[0] for bin_ in all_bins)
    y = Scale(max(0.0, min(low, least)), 1, y.start, y.end)
    drawing.left_axis(y, x.start, x.end, lambda value: f"{100 * value:.0f} %")
    drawing.bottom_axis(x, SIDE - 44, lambda value: f"{100 * value:.0f} %", "confidence")
    drawing.line((x(max(x.low, y.low)), y(max(x.low, y.low))), (x(1), y(1)), "reference")
    most = max(bin_.images for bin_ in all_bins)
    series = (calibration.bins, calibration.bins_at_temperature)[: 2 if calibration.changes else 1]
    for number, bins in enumerate(series):
        css = ("s0", "s1")[number]
        drawing.path([(x(bin_.confidence), y(bin_.accuracy)) for bin_ in bins], f"series {css}")
        for bin_ in bins:
            at, (bottom, top) = x(bin_.confidence), bin_.accuracy_interval_95
            drawing.line((at, y(bottom)), (at, y(top)), f"series thin {css}")
            title = f"{bin_.images:,} images: confidence {bin_.confidence:.1%}, accuracy {bin_.accuracy:.1%}"
            drawing.dot((at, y(bin_.accuracy)), f"fill {css}", title)
            half = (x(bin_.high) - x(bin_.low)) / 2
            tall = 46 * bin_.images / most
            drawing.bar(x(bin_.low) + number * half + 1, SIDE - 44 - tall, half - 2, tall, f"fill {css}", title)
    return drawing.svg()


def interval_chart(value: float, interval: Interval, ends: Interval, reference: float | None = None) -> Markup:
    """Return a small chart of a value with its interval, for a row of a table."""
    drawing = Drawing(180, 20, f"{value:.1%}, interval {interval[0]:.1%} to {interval[1]:.1%}")
    x = Scale(*ends, 4, 176)
    drawing.line((4, 10), (176, 10), "grid")
    if reference is not None:
        drawing.line((x(reference), 1), (x(reference), 19), "reference")
    apart = reference is not None and not interval[0] <= reference <= interval[1]
    css = "s1" if apart else "s0"
    drawing.line((x(interval[0]), 10), (x(interval[1]), 10), f"series {css}")
    drawing.dot((x(value), 10), f"fill {css}", f"{value:.2%}")
    return drawing.svg()


def axis_ends(intervals: list[Interval], at_most: float = 1.0) -> Interval:
    """Return the ends of an axis that contains all intervals, with a small margin."""
    low, high = min(low for low, _ in intervals), max(high for _, high in intervals)
    room = 0.05 * (high - low) or 0.01
    return low - room, min(at_most, high + room)
