"""Draw what a real Prometheus answered each panel of the dashboards with, from docs/images/panels.json.

`make e2e` leaves such a file in tests/artifacts; docs/images has the one that panels.png was drawn from.

usage: python tools/draw_panels.py
"""

import json
import math
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

HERE = Path(__file__).parents[1] / "docs" / "images"
COLUMNS = 6


def main() -> None:
    """Draw all panels, a dashboard after the other."""
    panels = json.loads((HERE / "panels.json").read_text(encoding="utf-8"))
    drawn: dict[tuple[str, str], list[dict[str, Any]]] = {}  # a panel may have several queries
    for panel in panels:
        drawn.setdefault((panel["dashboard"], panel["panel"]), []).extend(panel["series"])
    began = min(at for series in drawn.values() for curve in series for at, _ in curve["points"])
    rows = math.ceil(len(drawn) / COLUMNS)
    figure = Figure(figsize=(COLUMNS * 2.4, rows * 1.5))
    places = figure.subplots(rows, COLUMNS, sharex=True)
    for place in places.flat[len(drawn) :]:
        place.set_axis_off()
    for place, ((dashboard, title), series) in zip(places.flat, drawn.items(), strict=False):
        for curve in series:
            times, values = [at - began for at, _ in curve["points"]], [value for _, value in curve["points"]]
            place.plot(times, values, linewidth=1, marker="." if len(times) == 1 else "")
        place.set_title(f"{dashboard}: {title}", fontsize=6)
        place.tick_params(labelsize=5)
        place.grid(linewidth=0.3)
    for place in places[-1]:
        place.set_xlabel("seconds", fontsize=6)
    figure.tight_layout()
    figure.savefig(HERE / "panels.png", dpi=110)


if __name__ == "__main__":
    main()
