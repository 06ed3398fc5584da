"""Formatting of numbers, shared by terminal, page and figures."""

import math

from tuner.evaluation.scores import Interval


def percent(share: float, digits: int = 2) -> str:
    """Return a share as a percentage, such as `93.12 %`."""
    return f"{100 * share:z.{digits}f} %"


def score(value: float | None) -> str:
    """Return a score such as `0.9312`, or `1.7e+308` if it would be long otherwise; `-` for None."""
    if value is None:
        return "-"
    return f"{value:z.4f}" if abs(value) < 1e6 else f"{value:z.4g}"


def interval(bounds: Interval, digits: int = 2) -> str:
    """Return an interval such as `92.76-93.46 %`, rounded outwards so that it contains the computed one."""
    scale = 10**digits
    low = math.floor(100 * bounds[0] * scale) / scale
    high = math.ceil(100 * bounds[1] * scale) / scale
    return f"{low:z.{digits}f}-{high:z.{digits}f} %"


def accuracy_line(accuracy: float, bounds: Interval, images: int) -> str:
    """Return an accuracy with its interval and the number of images on which it was measured."""
    return f"{percent(accuracy)} (95 % interval {interval(bounds)}, {counted(images, 'image')})"


def counted(number: int, noun: str) -> str:
    """Return a number with its noun, such as `1 image` or `20,000 images`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def size(count: float) -> str:
    """Return a number of bytes as text: `14.8 MB`."""
    for unit, digits in (("bytes", 0), ("kB", 1), ("MB", 1)):
        if count < 1000:
            return f"{count:.{digits}f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def large(number: int) -> str:
    """Return a number such as `12,345` or `7.3 million`."""
    return f"{number:,}" if number < 1_000_000 else f"{number / 1e6:,.1f} million"


def duration(seconds: float | None) -> str:
    """Return a readable duration, such as `2 min 05 s`."""
    if seconds is None:
        return "unknown"
    minutes, rest = divmod(round(seconds), 60)
    if minutes == 0:
        return f"{rest} s"
    if minutes < 60:
        return f"{minutes} min {rest:02} s"
    return f"{minutes // 60} h {minutes % 60:02} min"
