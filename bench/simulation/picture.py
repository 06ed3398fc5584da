"""The best objective so far against virtual time as a figure, one panel per table and number of workers."""

import io
from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any

import numpy as np

from bench.simulation.catalogue import OURS, entry
from bench.simulation.contest import TARGETS, budget_s
from bench.simulation.results import Setting
from bench.simulation.table import Table

COLOURS = ("#dd6b30", "#3f83bf", "#667085", "#8a2f0b", "#9cc3e6", "#5a8f3c", "#a05ab4", "#c2a83e", "#4f9f9f", "#999999")
OUR_COLOUR = "#123f73"
POINTS = 60


def best_so_far_png(
    tables: Mapping[str, Table], outcomes: Mapping[tuple[Setting, str], Sequence[Mapping[str, Any]]]
) -> bytes:
    """Return a PNG of the medians over all seeds. Dotted lines are the targets."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    start_s = min(setting.start_s for setting, _ in outcomes)
    shown = {key: of for key, of in outcomes.items() if key[0].start_s == start_s}
    workers = sorted({setting.workers for setting, _ in shown})
    contenders = list(dict.fromkeys(contender for _, contender in shown))
    colours = dict(zip((name for name in contenders if name != OURS), cycle(COLOURS), strict=False))
    figure = Figure(figsize=(4.2 * len(workers), 3.2 * len(tables) + 1.2), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(len(tables), len(workers), squeeze=False)
    for line, (name, table) in zip(panels, tables.items(), strict=True):
        for axes, count in zip(line, workers, strict=True):
            limit_s = budget_s(table, count)
            times = np.geomspace(limit_s / 1000, limit_s, POINTS)
            for (setting, contender), of in shown.items():
                if (setting.table, setting.workers) == (name, count):
                    mine = contender == OURS
                    axes.plot(
                        times / 3600,
                        100 * _medians(of, times),
                        color=colours.get(contender, OUR_COLOUR),
                        linewidth=2.0 if mine else 1.0,
                        zorder=3 if mine else 2,
                        label=entry(contender).label,
                    )
            targets = [100 * table.target(share) for share in TARGETS]
            for target in targets:
                axes.axhline(target, color="#667085", linestyle=":", linewidth=0.8)
            axes.set_ylim(targets[0] - 2 * (targets[-1] - targets[0]), 100 * table.scores.max())
            axes.set_xscale("log")
            axes.set_title(f"{name}, {count} workers", fontsize=9)
            axes.set_xlabel("hours")
            axes.grid(alpha=0.3)
        line[0].set_ylabel("best objective so far, %")
    handles, labels = panels[0][0].get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside lower center", ncols=2 if len(workers) == 1 else 3, fontsize=8, frameon=False
    )
    png = io.BytesIO()
    figure.savefig(png, format="png", metadata={"Software": None})
    return png.getvalue()


def _medians(outcomes: Sequence[Mapping[str, Any]], times: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return the median of the best objectives at these times. A search that ended early keeps its best one."""
    curves = []
    for outcome in outcomes:
        ats, values = np.array(outcome["improvements"]).T
        positions = np.searchsorted(ats, times, side="right")
        curves.append(np.concatenate(([np.nan], values))[positions])
    return np.nanmedian(np.array(curves), axis=0)
