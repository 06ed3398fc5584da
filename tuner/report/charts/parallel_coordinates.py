"""Parallel coordinates: each trial is a line through the values of its hyperparameters to its score."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from tuner.report.charts.svg import FAR, Drawing, Scale, short, span
from tuner.report.importance import in_order, varied
from tuner.study.records import Value
from tuner.study.trial import Trial

WIDTH, TOP, BOTTOM = 800.0, 34.0, 262.0
AXES = 9
"""Maximum number of hyperparameters shown."""
LINES = 300
"""Maximum number of trials drawn besides the best tenth, chosen at random."""
MANY = 40
"""Number of trials in the best tenth above which they are drawn more faintly."""
WORDS = 12
"""Maximum number of labels on an axis of words."""
FEW_VALUES = 8
"""Number of values up to which the lines through the same value are spread."""
LOG_FACTOR = 50
"""Ratio of the largest to the smallest value from which an axis of positive values is logarithmic."""


@dataclass(frozen=True)
class _Axis:
    name: str
    scale: Scale
    words: tuple[str, ...] | None
    """All words of an axis of words; None for an axis of numbers."""
    spread: float
    """Distance by which lines through the same value are spread; 0 if there are many values."""

    def place(self, value: Value | None, aside: float) -> float:
        """Return the height of a value, below the axis if the trial has none. `aside` is from -1 to 1."""
        if value is None:
            return BOTTOM + 16 + 4 * aside
        at = self.scale(self.words.index(str(value)) if self.words is not None else float(value))
        return at + self.spread * aside


def parallel_chart(best_first: Sequence[Trial], order: Sequence[str], objective: str, seed: int) -> Markup | None:
    """Return the chart of trials with a score; None if there are fewer than two or all have the same values.

    `order` lists the hyperparameters that come first. If there are too many hyperparameters, the last are omitted.
    """
    known = varied(best_first)
    names = [*(name for name in order if name in known), *(name for name in known if name not in order)][:AXES]
    if len(best_first) < 2 or not names:
        return None
    axes = [_axis(name, [trial.hyperparameters.get(name) for trial in best_first]) for name in names]
    scores = Scale(*span([trial.score or 0.0 for trial in best_first], 0.03), BOTTOM, TOP)
    tenth = max(1, len(best_first) // 10)
    others = list(best_first[tenth:])
    if len(others) > LINES:
        chosen = sorted(np.random.default_rng(seed).permutation(len(others))[:LINES])
        others = [others[index] for index in chosen]
    drawing = Drawing(WIDTH, 300, f"Hyperparameters and {objective}, a line per trial; the best tenth is marked")
    places = np.linspace(62, WIDTH - 70, len(axes) + 1)
    good = "curve good many" if tenth > MANY else "curve good"
    drawn = [(trial, "curve") for trial in others] + [(trial, good) for trial in reversed(best_first[1:tenth])]
    asides = np.random.default_rng(seed).uniform(-1, 1, len(drawn)).tolist()
    for (trial, css), aside in zip([*drawn, (best_first[0], "curve top")], [*asides, 0.0], strict=True):
        heights = [axis.place(trial.hyperparameters.get(axis.name), aside) for axis in axes]
        heights += [scores(trial.score or 0.0)]
        drawing.path(list(zip(places.tolist(), heights, strict=True)), css, f"trial {trial.trial_id}")
    for place, axis in zip(places.tolist(), axes, strict=False):
        _draw(drawing, axis, place, room=int(WIDTH / len(places) / 6.5))
    end = float(places[-1])
    drawing.line((end, TOP), (end, BOTTOM), "axis")
    drawing.text((end, TOP - 14), short(objective, 16), "strong", anchor="middle")
    for tick in scores.ticks(5):
        drawing.text((end + 6, scores(tick) + 4), f"{tick:z.4g}")
    return drawing.svg()


def _axis(name: str, values: Sequence[Value | None]) -> _Axis:
    present = [value for value in values if value is not None]
    numbers = [float(value) for value in present if _can_be_drawn(value)]
    if len(numbers) == len(present) and len(set(numbers)) > 1:
        low, high = min(numbers), max(numbers)
        spread = 5.0 if len(set(numbers)) <= FEW_VALUES and len(values) > FEW_VALUES else 0.0
        log = low > 0 and high / low >= LOG_FACTOR
        whole = all(isinstance(value, int) for value in present)
        return _Axis(name, Scale(low, high, BOTTOM, TOP, log, whole), None, spread)
    words = tuple(dict.fromkeys([*map(str, in_order(present)), *map(str, present)]))  # the latter adds NaN
    spread = 5.0 if len(values) > FEW_VALUES else 0.0
    return _Axis(name, Scale(0, max(1, len(words) - 1), BOTTOM, TOP), words, spread)


def _can_be_drawn(value: Value) -> bool:
    """Return whether a value fits on an axis of numbers; if one does not, all values become words."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= FAR


def _draw(drawing: Drawing, axis: _Axis, place: float, room: int) -> None:
    drawing.line((place, TOP), (place, BOTTOM), "axis")
    drawing.text((place, TOP - 14), short(axis.name, room), "strong", anchor="middle")
    if axis.words is not None:
        every = -(-len(axis.words) // WORDS)
        marks = [(axis.scale(index), short(word, 14)) for index, word in enumerate(axis.words) if index % every == 0]
    else:
        marks = [(axis.scale(tick), f"{tick:z.4g}") for tick in axis.scale.ticks(5)]
    for height, label in marks:
        drawing.text((place + 5, height + 4), label, "halo")
