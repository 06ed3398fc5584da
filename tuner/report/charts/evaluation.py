"""What the test images showed, as charts: ROC curves, reliability, intervals of accuracies."""

from collections.abc import Mapping

from markupsafe import Markup

from tuner.evaluation.result import Calibration, RocCurve
from tuner.evaluation.scores import Interval
from tuner.report.charts.svg import Drawing, Scale, short

SIDE = 400.0
COLOURS = 6
"""Curves that can be told apart by colour; the page has as many classes."""


def roc_chart(curves: Mapping[str, RocCurve]) -> Markup:
    """Return the curves of six classes at most."""
    shown = dict(list(curves.items())[:COLOURS])
    drawing = Drawing(SIDE, SIDE, f"ROC curve of {', '.join(map(str, shown))}")
    x, y = Scale(0, 1, 48, SIDE - 12), Scale(0, 1, SIDE - 44, 12)
    drawing.left_axis(y, x.start, x.end, lambda value: f"{value:g}")
    drawing.bottom_axis(x, y.start, lambda value: f"{value:g}", "false positive rate")
    drawing.line((x(0), y(0)), (x(1), y(1)), "reference")
    for index, (name, curve) in enumerate(shown.items()):
        points = zip(curve.false_positive_rate, curve.true_positive_rate, strict=True)
        drawing.path([(x(false), y(true)) for false, true in points], f"series s{index}", name)
        if len(shown) > 1:
            drawing.bar(x(0.62), y(0.4) + 18 * index - 9, 10, 10, f"fill s{index}")
            drawing.text((x(0.62) + 16, y(0.4) + 18 * index), short(name, 16))
    return drawing.svg()


def reliability_chart(calibration: Calibration, classes: int) -> Markup:
    """Return accuracy by confidence, as the model says it and at the temperature, and how many images there are."""
    drawing = Drawing(SIDE, SIDE, "Accuracy by confidence, as the model gives it and calibrated")
    low = max(0.0, min(1 / classes, *(each.low for each in calibration.bins)) - 0.02)
    x, y = Scale(low, 1, 48, SIDE - 24), Scale(0, 1, SIDE - 110, 12)
    least = min(each.accuracy_interval_95[0] for each in (*calibration.bins, *calibration.bins_at_temperature))
    y = Scale(max(0.0, min(low, least)), 1, y.start, y.end)
    drawing.left_axis(y, x.start, x.end, lambda value: f"{100 * value:.0f} %")
    drawing.bottom_axis(x, SIDE - 44, lambda value: f"{100 * value:.0f} %", "confidence")
    drawing.line((x(max(x.low, y.low)), y(max(x.low, y.low))), (x(1), y(1)), "reference")
    most = max(each.images for each in (*calibration.bins, *calibration.bins_at_temperature))
    shown = (calibration.bins, calibration.bins_at_temperature)[: 2 if calibration.changes else 1]
    for number, bins in enumerate(shown):
        css = ("s0", "s1")[number]
        drawing.path([(x(each.confidence), y(each.accuracy)) for each in bins], f"series {css}")
        for each in bins:
            at, (bottom, top) = x(each.confidence), each.accuracy_interval_95
            drawing.line((at, y(bottom)), (at, y(top)), f"series thin {css}")
            said = f"{each.images:,} images: confidence {each.confidence:.1%}, accuracy {each.accuracy:.1%}"
            drawing.dot((at, y(each.accuracy)), f"fill {css}", said)
            half = (x(each.high) - x(each.low)) / 2
            tall = 46 * each.images / most
            drawing.bar(x(each.low) + number * half + 1, SIDE - 44 - tall, half - 2, tall, f"fill {css}", said)
    return drawing.svg()


def interval_chart(value: float, interval: Interval, ends: Interval, reference: float | None = None) -> Markup:
    """Return a small picture of a value with its interval, for a row of a table."""
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


def ends_of(intervals: list[Interval], at_most: float = 1.0) -> Interval:
    """Return ends that hold all intervals, a little wider."""
    low, high = min(each[0] for each in intervals), max(each[1] for each in intervals)
    room = 0.05 * (high - low) or 0.01
    return low - room, min(at_most, high + room)
