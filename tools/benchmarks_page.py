"""Write docs/benchmarks.md from benchmarks_page.md.jinja and the files in bench/results: part of `make docs`.

A test holds that the page is what these files make. A part that was not measured is left out.
"""

import json
import re
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

HERE = Path(__file__).parent
ROOT = HERE.parent
sys.path.insert(0, str(ROOT))

from bench import summary  # noqa: E402
from bench.scaling.catalogue import CURVES, UNITS  # noqa: E402
from bench.target import ratio_of  # noqa: E402

PAGE = ROOT / "docs" / "benchmarks.md"
RESULTS = ROOT / "bench" / "results"
WIDTH = 120


def page(folder: Path = RESULTS) -> str:
    """Return the page of a folder's results, as Markdown."""
    environment = Environment(  # Markdown, of our own figures: nothing to escape
        loader=FileSystemLoader(HERE),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    filters: dict[str, Callable[[Any], str]] = {"number": number, "changed": changed, "hours": hours}
    environment.filters |= {**filters, "percent": lambda share: f"{100 * share:.0f} %"}
    results = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in folder.glob("*.json")}
    tables = growth_tables(results.get("growth", {}))
    template = environment.get_template("benchmarks_page.md.jinja")
    rows = summary.rows(folder)
    return reflowed(template.render(results=results, rows=rows, tables=tables, ratio=ratio_of))


def reflowed(text: str) -> str:
    """Return Markdown whose paragraphs are filled again: figures have changed the lines' lengths."""
    filled = []
    for block in text.rstrip().split("\n\n"):
        if block.startswith(("|", "#", "!")):
            filled.append(block)
            continue
        items = re.split(r"\n(?=- )", block)
        lines = [
            textwrap.fill(
                " ".join(item.split()), WIDTH, subsequent_indent="  " if item.startswith("- ") else "",
                break_long_words=False, break_on_hyphens=False,
            )
            for item in items
        ]  # fmt: skip
        filled.append("\n".join(lines))
    return "\n\n".join(filled) + "\n"


def number(value: float) -> str:
    """Return a figure with three digits, or all those of whole thousands."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def hours(of: list[float]) -> str:
    """Return a duration in hours and its interval, from seconds."""
    value, low, high = (f"{seconds / 3600:.2f}" for seconds in of)
    return f"{value} ({low} to {high})"


def changed(row: dict[str, Any]) -> str:
    """Return in what a GPU's row differs from the usual trial."""
    changes = [f"{name} {row[name]}" for name in ("shift", "cutout", "average") if row[name]]
    return ", ".join(changes + ["float32"] * (row["precision"] == "float32"))


def growth_tables(result: dict[str, Any]) -> list[str]:
    """Return a table a part: each curve's cost at each size, its slope and its knee."""
    fits = {(fit["part"], fit["rows"], fit["key"]): fit for fit in result.get("fits", ())}
    tables = []
    for part, unit in UNITS.items():
        curves = [(curve, curve.points(result)) for curve in CURVES if curve.part == part]
        if not curves[0][1]:
            continue
        sizes = [f"{point.size:,.0f}" for point in curves[0][1]]
        lines = [_line([unit, *sizes, "slope", "knee"]), _line(["---", *["---:"] * (len(sizes) + 2)])]
        for curve, points in curves:
            fit = fits[curve.part, curve.rows, curve.key]
            knee = number(fit["knee"]) if fit["knee"] else "none"
            lines.append(_line([curve.label, *(number(p.cost) for p in points), f"{fit['slope']:+.2f}", knee]))
        tables.append("\n".join(lines))
    return tables


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
