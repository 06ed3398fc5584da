"""Catalogue of the curves: the figures that are shown against the size, and their labels."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from bench.scaling.fit import Point, knee, slope


@dataclass(frozen=True)
class Curve:
    """A figure against the size."""

    part: str
    rows: str
    """Key of the rows in the part."""
    key: str
    label: str
    per: float = 0.0
    """Unit of the size that a total figure is converted to; 0 if the figure is shown unchanged."""

    def points(self, result: Mapping[str, Any]) -> list[Point]:
        """Return the curve's points from the results of `bench/growth.py`; none if its part was not measured."""
        rows = result.get(self.part, {}).get(self.rows, ())
        return [Point(row["size"], row[self.key] * (self.per / row["size"] if self.per else 1.0)) for row in rows]


@dataclass(frozen=True)
class Fitted:
    """Slope and knee of a curve."""

    part: str
    rows: str
    key: str
    slope: float
    knee: float | None


UNITS = {"trials": "trials of the study", "workers": "workers", "images": "images"}
CURVES = (
    Curve("trials", "ours", "cpu_ms_per_trial", "chief's processor time, ms per trial"),
    Curve("trials", "bare", "cpu_ms_per_trial", "bare Keras Tuner's chief, ms per trial"),
    Curve("trials", "ours", "restart_s", "time until a new chief serves, s"),
    Curve("trials", "ours", "restart_rss_mib", "a new chief's memory, MiB"),
    Curve("workers", "rows", "cpu_ms_per_trial", "chief's processor time, ms per trial"),
    Curve("workers", "rows", "create_ms_p50", "create, ms, median"),
    Curve("workers", "rows", "report_ms_p50", "report, ms, median"),
    Curve("workers", "rows", "wait_ms_per_trial", "a worker's waiting time, ms per trial"),
    Curve("workers", "rows", "rss_mib", "chief's memory, MiB"),
    Curve("images", "rows", "pack_s", "packing, s per 10,000 images", 10_000),
    Curve("images", "rows", "pack_mib", "memory of packing, MiB"),
    Curve("images", "rows", "first_batch_s", "first worker's first batch, s per 10,000 images", 10_000),
    Curve("images", "rows", "next_first_batch_s", "next worker's first batch, s per 10,000 images", 10_000),
    Curve("images", "rows", "batch_ms", "batch of 128, ms"),
    Curve("images", "rows", "memory_mib", "a worker's own memory, MiB per 10,000 images", 10_000),
)


def fitted(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return slope and knee of each curve that was measured at two or more sizes."""
    fits = []
    for curve in CURVES:
        points = curve.points(result)
        if len(points) > 1:
            fits.append(asdict(Fitted(curve.part, curve.rows, curve.key, slope(points), knee(points))))
    return fits
