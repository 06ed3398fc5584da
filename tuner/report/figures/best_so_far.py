"""The best objective of several searches against worker-hours, as a PNG."""

import io
from collections.abc import Sequence

from tuner.printable import printable
from tuner.report.figures.style import DPI, INK, MUTED
from tuner.report.text import score
from tuner.study.best_so_far import BestSoFar

COLOURS = ("#1f66a8", "#c2541b", "#2f855a", "#7a3e9d", "#b7791f", "#0f766e", "#b83280", "#4a5568")
LINE = "#c9ced6"
START = 0.02
"""Share of the longest search that does not determine the vertical axis, because first scores are far from the best."""


def best_so_far_png(searches: Sequence[BestSoFar]) -> bytes:
    """Return a PNG with a line per search, which have the same objective and at least one step."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.4, 5.2), dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    figure.subplots_adjust(left=0.11, right=0.97, top=0.85, bottom=0.12)
    for number, search in enumerate(searches):
        hours = [step.worker_hours for step in search.steps] + [search.worker_hours]
        values = [step.value for step in search.steps] + [search.steps[-1].value]
        colour = COLOURS[number % len(COLOURS)]
        label = f"{printable(search.study)}: {score(search.best)}"
        axes.step(hours, values, where="post", color=colour, linewidth=1.8, label=label)
        axes.plot(hours[-1], values[-1], "o", color=colour, markersize=5)
    low, high = _span(searches)
    axes.set_ylim(low, high)
    axes.set_xlim(0, max(search.worker_hours for search in searches) * 1.02 or 1)
    axes.set_xlabel("worker-hours", color=MUTED)
    axes.set_ylabel(f"best {printable(searches[0].objective.name)} so far", color=MUTED)
    is_max = searches[0].objective.direction == "max"
    axes.legend(loc="lower right" if is_max else "upper right", frameon=False, fontsize=10, labelcolor=INK)
    axes.tick_params(colors=MUTED, labelsize=9)
    axes.grid(color=LINE, linewidth=0.5, alpha=0.6)
    axes.set_axisbelow(True)
    for spine in axes.spines.values():
        spine.set_color(LINE)
    figure.text(
        0.5, 0.93, "Best objective against worker-hours", ha="center", fontsize=16, color=INK, fontweight="bold"
    )
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=DPI, metadata={"Software": None})
    return png.getvalue()


def _span(searches: Sequence[BestSoFar]) -> tuple[float, float]:
    """Return the ends of the vertical axis."""
    early = START * max(search.worker_hours for search in searches)
    values = [search.steps[-1].value for search in searches]
    for search in searches:
        before = [step.value for step in search.steps if step.worker_hours <= early]
        values += before[-1:] + [step.value for step in search.steps if step.worker_hours > early]
    low, high = min(values), max(values)
    room = 0.05 * (high - low) or 0.05 * abs(high) or 0.5
    return low - room, high + room
