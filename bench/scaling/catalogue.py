"""The curves: which figure of which part grows with what, and how it is shown."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from bench.scaling.fit import Point, knee, slope


@dataclass(frozen=True)
class Curve:
    """One figure against the size."""

    part: str
    rows: str
    """Where in the part the rows are."""
    key: str
    label: str
    per: float = 0.0
    """The figure is that of all, and is shown for so many of the size; 0: it is shown as it is."""

    def points(self, result: Mapping[str, Any]) -> list[Point]:
        """Return its points out of what `bench/growth.py` has measured; none where that part was not."""
        rows = result.get(self.part, {}).get(self.rows, ())
        return [Point(row["size"], row[self.key] * (self.per / row["size"] if self.per else 1.0)) for row in rows]


@dataclass(frozen=True)
class Fitted:
    """A curve's figures."""

    part: str
    rows: str
    key: str
    slope: float
    knee: float | None


UNITS = {"trials": "trials of the study", "workers": "workers", "images": "images"}
CURVES = (
    Curve("trials", "ours", "cpu_ms_per_trial", "chief's processor time, ms a trial"),
    Curve("trials", "bare", "cpu_ms_per_trial", "the same of bare Keras Tuner's chief"),
    Curve("trials", "ours", "restart_s", "a new chief serves after, s"),
    Curve("trials", "ours", "restart_rss_mib", "its memory, MiB"),
    Curve("workers", "rows", "cpu_ms_per_trial", "chief's processor time, ms a trial"),
    Curve("workers", "rows", "create_ms_p50", "create, ms, median"),
    Curve("workers", "rows", "report_ms_p50", "report, ms, median"),
    Curve("workers", "rows", "wait_ms_per_trial", "a worker waits, ms a trial"),
    Curve("workers", "rows", "rss_mib", "chief's memory, MiB"),
    Curve("images", "rows", "pack_s", "packing, s for 10,000 images", 10_000),
    Curve("images", "rows", "pack_mib", "packing's memory, MiB"),
    Curve("images", "rows", "first_batch_s", "a node's first batch, s for 10,000 images", 10_000),
    Curve("images", "rows", "next_first_batch_s", "the next worker's first batch, s for 10,000 images", 10_000),
    Curve("images", "rows", "batch_ms", "a batch of 128, ms"),
    Curve("images", "rows", "memory_mib", "a worker's own memory, MiB for 10,000 images", 10_000),
)


def fitted(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return slope and knee of each curve that was measured at two sizes or more."""
    found = []
    for curve in CURVES:
        points = curve.points(result)
        if len(points) > 1:
            found.append(asdict(Fitted(curve.part, curve.rows, curve.key, slope(points), knee(points))))
    return found
