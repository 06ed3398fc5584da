"""Demands of 10,000 workers on one chief and one bucket, computed from measurements with fewer workers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bench.scaling.fit import Point, cost_per_unit
from tuner.config.loading import load

WORKERS = 10_000
TRIAL_S = 60.0
EPOCHS = (1, 10)
"""Numbers of epochs per trial for which the demands are computed."""
GCS_WRITES_PER_S = 1000
"""Initial number of writes, including deletions, that a bucket of Google Cloud Storage accepts per second. It receives
more capacity within minutes: https://cloud.google.com/storage/docs/request-rate"""


@dataclass(frozen=True)
class Demand:
    """Demands per second, and the shortest trials for which chief and bucket are sufficient."""

    workers: int
    trial_s: float
    epochs: int
    trials_per_s: float
    beats_per_s: float
    chief_cores: float
    """Number of cores needed; the chief is one process with one event loop, so it has one."""
    chief_trial_s: float | None
    """Shortest trial for which one core is sufficient; None if heartbeats alone need more."""
    chief_mib: float
    """Resident memory before any trial has ended."""
    segments_per_s: float
    """Segments of the journal, as measured; limited by the bucket's latency, not by the number of workers."""
    writes_per_s: float
    bucket_trial_s: float
    """Shortest trial for which the initial capacity of a bucket is sufficient."""


def demands(result: Mapping[str, Any], epochs: int, workers: int = WORKERS, trial_s: float = TRIAL_S) -> Demand:
    """Return the demands of `workers` workers, from the parts `workers` and `operations` of `bench/growth.py`."""
    from tuner.chief.service import BEATS_PER_S  # imports Keras

    measured, operations = result["workers"], result["operations"]
    most = measured["rows"][-1]
    trial_cpu_s = (most["cpu_ms_per_trial"] + (epochs - 1) * measured["cpu_ms_per_report"]) / 1000
    next_s = min(load().leases.duration_s / 3, max(1.0, workers / BEATS_PER_S))  # as the chief requests
    beating = workers / next_s * measured["beats"]["cpu_ms_per_beat"] / 1000
    writes = operations["per_trial"] + epochs * operations["per_epoch"]
    memory = [Point(row["size"], row["rss_mib"]) for row in measured["rows"]]
    left = GCS_WRITES_PER_S - most["segments_per_s"]
    return Demand(
        workers=workers,
        trial_s=trial_s,
        epochs=epochs,
        trials_per_s=workers / trial_s,
        beats_per_s=workers / next_s,
        chief_cores=workers / trial_s * trial_cpu_s + beating,
        chief_trial_s=workers * trial_cpu_s / (1 - beating) if beating < 1 else None,
        chief_mib=most["rss_mib"] + (workers - most["size"]) * cost_per_unit(memory),
        segments_per_s=most["segments_per_s"],
        writes_per_s=workers / trial_s * writes + most["segments_per_s"],
        bucket_trial_s=workers * writes / left,
    )
