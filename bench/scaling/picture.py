"""The curves as a figure: cost against size on logarithmic axes, one panel per part."""

import io
from collections.abc import Mapping
from itertools import cycle
from typing import Any

from bench.scaling.catalogue import CURVES, UNITS
from bench.scaling.fit import knee, slope

COLOURS = ("#123f73", "#dd6b30", "#3f83bf", "#667085", "#8a2f0b", "#9cc3e6")


def growth_png(result: Mapping[str, Any]) -> bytes:
    """Return a PNG of the results of `bench/growth.py`; dashed lines are knees."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    parts = [part for part in UNITS if part in result]
    figure = Figure(figsize=(9.5, 3.2 * len(parts)), dpi=110, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    for part, axes in zip(parts, figure.subplots(len(parts), squeeze=False).flat, strict=True):
        curves = [curve for curve in CURVES if curve.part == part]
        for curve, colour in zip(curves, cycle(COLOURS), strict=False):
            points = curve.points(result)
            label = f"{curve.label} (slope {slope(points):+.2f})" if len(points) > 1 else curve.label
            axes.plot([p.size for p in points], [p.cost for p in points], color=colour, marker=".", label=label)
            if len(points) > 1 and (at := knee(points)):
                axes.axvline(at, color=colour, linestyle="--", linewidth=0.8)
        axes.set_xscale("log")
        axes.set_yscale("log")
        sizes = [point.size for point in curves[0].points(result)]
        axes.set_xticks(sizes, [f"{size:,.0f}" for size in sizes])
        axes.set_xticks([], minor=True)
        axes.set_xlabel(UNITS[part])
        axes.grid(alpha=0.3)
        axes.legend(fontsize=7, frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    png = io.BytesIO()
    figure.savefig(png, format="png", metadata={"Software": None})
    return png.getvalue()
