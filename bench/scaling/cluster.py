"""What 10,000 workers would ask of one chief and one bucket, reckoned from what fewer were measured to."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bench.scaling.fit import Point, each
from tuner.config.loading import load

WORKERS = 10_000
TRIAL_S = 60.0
EPOCHS = (1, 10)
"""Of a trial: cases."""
GCS_WRITES_PER_S = 1000
"""A bucket of Google's begins with about so many writes, deletions among them, of different objects a second, and gets
more capacity within minutes: https://cloud.google.com/storage/docs/request-rate"""


@dataclass(frozen=True)
class Demand:
    """What is asked for a second, and how long trials must be for it to be had."""

    workers: int
    trial_s: float
    epochs: int
    trials_per_s: float
    beats_per_s: float
    chief_cores: float
    """Of processor time; the chief is one process around one event loop, so it has one."""
    chief_trial_s: float | None
    """The shortest trial with which one core is enough; None where heartbeats alone take more."""
    chief_mib: float
    """Resident, while nobody's trial has ended yet."""
    segments_per_s: float
    """Of the journal, as measured: bounded by the bucket's latency, whatever the number of workers."""
    writes_per_s: float
    bucket_trial_s: float
    """The shortest trial with which a bucket that has not been given more capacity yet is enough."""


def demands(result: Mapping[str, Any], epochs: int, workers: int = WORKERS, trial_s: float = TRIAL_S) -> Demand:
    """Return what so many workers ask for, from the parts `workers` and `operations` of `bench/growth.py`."""
    from tuner.chief.service import BEATS_PER_S  # with Keras

    measured, operations = result["workers"], result["operations"]
    most = measured["rows"][-1]
    trial_cpu_s = (most["cpu_ms_per_trial"] + (epochs - 1) * measured["cpu_ms_per_report"]) / 1000
    next_s = min(load().leases.duration_s / 3, max(1.0, workers / BEATS_PER_S))  # as the chief tells them
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
        chief_mib=most["rss_mib"] + (workers - most["size"]) * each(memory),
        segments_per_s=most["segments_per_s"],
        writes_per_s=workers / trial_s * writes + most["segments_per_s"],
        bucket_trial_s=workers * writes / left,
    )
