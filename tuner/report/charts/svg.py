"""Charts as inline SVG: scales with round ticks, lines, dots, bars and text. The page's CSS classes set the colours."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from markupsafe import Markup, escape

from tuner.printable import LINES, printable

FAR = 1e200
"""Largest absolute value. Larger values are drawn at this one, because their differences may be infinite."""

Point = tuple[float, float]
Format = Callable[[float], str]


@dataclass(frozen=True)
class Scale:
    """Map from values to coordinates, linear or logarithmic."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False
    whole: bool = False
    """Whether values, and so the ticks, are whole numbers."""

    def __call__(self, value: float) -> float:
        """Return the coordinate of a value. A value beyond an end has the coordinate of that end."""
        value = min(self.high, max(self.low, value))
        low, high, at = (math.log(number) if self.log else number for number in (self.low, self.high, value))
        share = (at - low) / (high - low) if high > low else 0.5
        return self.start + share * (self.end - self.start)

    def ticks(self, count: int = 5) -> list[float]:
        """Return about `count` round values within the ends."""
        if self.high <= self.low:
            return [self.low]
        if self.log:
            powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            decades = [10.0**power for power in powers if self.low <= 10.0**power <= self.high * 1.0000001]
            return decades[:: -(-len(decades) // (2 * count))] if len(decades) > 1 else [self.low, self.high]
        rough = (self.high - self.low) / count
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough)
        if self.whole:
            step = max(1.0, float(math.ceil(step)))
        first = math.ceil(self.low / step - 1e-9)
        return [round(number * step, 12) for number in range(first, math.floor(self.high / step + 1e-9) + 1)]


@dataclass
class Drawing:
    """An SVG drawing under construction. Lengths are in its own units: CSS pixels at its natural width."""

    width: float
    height: float
    label: str
    """Description for screen readers."""
    parts: list[str] = field(default_factory=list)

    def line(self, one: Point, other: Point, css: str) -> None:
        """Draw a straight line."""
        self.parts.append(
            f'<line x1="{_n(one[0])}" y1="{_n(one[1])}" x2="{_n(other[0])}" y2="{_n(other[1])}" class="{escape(css)}"/>'
        )

    def path(self, points: Sequence[Point], css: str, title: str = "") -> None:
        """Draw a line through points."""
        if points:
            moves = " ".join(f"{_n(x)},{_n(y)}" for x, y in points)
            self._add("path", f'd="M{moves}"', css, title)

    def steps(self, points: Sequence[Point], css: str) -> None:
        """Draw a step line, which keeps each point's height up to the next point."""
        stairs = [points[0]] if points else []
        for one, other in pairwise(points):
            stairs += [(other[0], one[1]), other]
        self.path(stairs, css)

    def dots(self, points: Iterable[Point], css: str) -> None:
        """Draw dots as one path of zero-length lines with round ends, which keeps thousands of dots small."""
        moves = "".join(f"M{_n(x)},{_n(y)}h0" for x, y in points)
        if moves:
            self._add("path", f'd="{moves}"', f"dots {css}", "")

    def dot(self, at: Point, css: str, title: str) -> None:
        """Draw one dot with a tooltip."""
        self._add("circle", f'cx="{_n(at[0])}" cy="{_n(at[1])}" r="4"', css, title)

    def bar(self, left: float, top: float, width: float, height: float, css: str, title: str = "") -> None:
        """Draw a filled rectangle."""
        place = f'x="{_n(left)}" y="{_n(top)}" width="{_n(max(width, 0))}" height="{_n(max(height, 0))}"'
        self._add("rect", place, css, title)

    def bars(self, places: Iterable[tuple[float, float, float, float]], css: str) -> None:
        """Draw many filled rectangles (left, top, width, height) as one path."""
        moves = "".join(f"M{_n(x)},{_n(y)}h{_n(w)}v{_n(h)}h{_n(-w)}z" for x, y, w, h in places)
        if moves:
            self._add("path", f'd="{moves}"', css, "")

    def text(self, at: Point, text: object, css: str = "", anchor: str = "start") -> None:
        """Write text. `anchor` is start, middle or end."""
        place = f'x="{_n(at[0])}" y="{_n(at[1])}" text-anchor="{anchor}"'
        self.parts.append(f'<text {place} class="{escape(css)}">{_escaped(text)}</text>')

    def left_axis(self, scale: Scale, left: float, right: float, label: Format, count: int = 5) -> None:
        """Draw horizontal grid lines from `left` to `right`, labelled on the left."""
        for tick in scale.ticks(count):
            y = scale(tick)
            self.line((left, y), (right, y), "grid")
            self.text((left - 6, y + 4), label(tick), anchor="end")

    def bottom_axis(self, scale: Scale, bottom: float, label: Format, title: str = "", count: int = 6) -> None:
        """Write tick labels and a title below `bottom`."""
        for tick in scale.ticks(count):
            self.text((scale(tick), bottom + 15), label(tick), anchor="middle")
        if title:
            self.text(((scale.start + scale.end) / 2, bottom + 31), title, anchor="middle")

    def svg(self) -> Markup:
        """Return the drawing as an SVG element."""
        return Markup(  # noqa: S704  (all text in it has been escaped)
            f'<svg viewBox="0 0 {_n(self.width)} {_n(self.height)}" width="{_n(self.width)}" '
            f'height="{_n(self.height)}" role="img" aria-label="{_escaped(self.label)}">{"".join(self.parts)}</svg>'
        )

    def _add(self, element: str, attributes: str, css: str, title: str) -> None:
        inside = f"<title>{_escaped(title)}</title>" if title else ""
        self.parts.append(f'<{element} {attributes} class="{escape(css)}">{inside}</{element}>')


def span(values: Sequence[float], margin: float = 0.05) -> tuple[float, float]:
    """Return the ends of an axis that contains these values, with a margin."""
    finite = [min(FAR, max(-FAR, value)) for value in values if math.isfinite(value)]
    if not finite:
        return 0.0, 1.0
    low, high = min(finite), max(finite)
    room = margin * (high - low) or 0.05 * abs(high) or 0.5
    return low - room, high + room


def short(text: object, characters: int) -> str:
    """Return the text, cut to at most `characters` characters."""
    full = str(text)
    return full if len(full) <= characters else f"{full[: characters - 1]}…"


def _n(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _escaped(text: object) -> Markup:
    return escape(printable(str(text), keep=LINES))
