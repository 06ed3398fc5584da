"""The name, kind, labels and help text of every metric. docs/metrics.md is generated from this module.

The number of values of each label is bounded. Trial ids, worker names and other text written by users are therefore
not labels. The only exception is the study's name, because each process has only one study.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric as MetricFamily
from prometheus_client.registry import Collector

from tuner.monitoring.metric_names import Metric


class Role(StrEnum):
    """Role of the process that exposes a metric."""

    CHIEF = "chief"
    WORKER = "worker"


class MetricKind(StrEnum):
    """Type of a metric."""

    GAUGE = "gauge"  # may increase and decrease
    COUNTER = "counter"  # only increases, and starts from 0 in each process
    HISTOGRAM = "histogram"


FAST = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Upper bounds of the histograms' buckets, in seconds. They range from a flush to a local disk to the deadline of an
operation on a bucket that does not answer."""


@dataclass(frozen=True)
class Family:
    """The definition of one metric, which has a value for each combination of its labels."""

    name: Metric
    kind: MetricKind
    help: str
    labels: tuple[str, ...] = ()


# ---- both -----------------------------------------------------------------------------------------
BUILD = Family(Metric.BUILD, MetricKind.GAUGE, "Always 1; the labels identify the program.", ("version", "role"))
READY = Family(
    Metric.READY,
    MetricKind.GAUGE,
    "1 if the process is ready, else 0, as reported by /readyz. A chief is ready if it serves its workers and can "
    "write its journal; a worker is ready if it has joined and its heartbeats are answered.",
    ("role",),
)
BUCKET = Family(
    Metric.BUCKET,
    MetricKind.HISTOGRAM,
    "Duration of operations on the bucket in seconds, including all retries.",
    ("operation",),
)
BUCKET_ERRORS = Family(
    Metric.BUCKET_ERRORS,
    MetricKind.COUNTER,
    "Number of operations on the bucket that failed after all retries. A missing object, or one that already exists, "
    "is not a failure.",
    ("operation",),
)
BUCKET_BYTES = Family(
    Metric.BUCKET_BYTES,
    MetricKind.COUNTER,
    "Number of bytes read from and written to the bucket.",
    ("direction",),
)

# ---- the chief, computed from the journal, so that a restarted chief continues the values ---------------------------
SEARCH = Family(
    Metric.SEARCH,
    MetricKind.GAUGE,
    "1 for the current state of the search, 0 for the other states. States: running, paused, finished, given_up.",
    ("state",),
)
SEARCH_STARTED = Family(
    Metric.SEARCH_STARTED, MetricKind.GAUGE, "Time at which the first trial started, in seconds since 1970."
)
SEARCH_LEFT = Family(
    Metric.SEARCH_LEFT,
    MetricKind.GAUGE,
    "Estimated seconds until the search ends by its number of trials or a budget of hours, whichever is first. Based "
    "on the rate since this chief started. Absent until there is an estimate, and after the search has ended.",
)
SEARCH_ENDED = Family(
    Metric.SEARCH_ENDED,
    MetricKind.GAUGE,
    "Time at which the search ended, in seconds since 1970. Absent while it runs.",
)
TRIALS = Family(
    Metric.TRIALS,
    MetricKind.GAUGE,
    "Number of trials by state: queued, paused, running, completed, stopped, failed.",
    ("state",),
)
TRIALS_PLANNED = Family(
    Metric.TRIALS_PLANNED,
    MetricKind.GAUGE,
    "Number of trials that the search will run. Absent with hyperband, which determines the number itself, and if only "
    "other budgets are set.",
)
BUDGET_USED = Family(
    Metric.BUDGET_USED,
    MetricKind.GAUGE,
    "How much of each budget of the search is used: max_hours and max_worker_hours in seconds, target as the best "
    "objective so far, patience_trials as a number of trials. Absent for budgets that are not set.",
    ("budget",),
)
BUDGET_LIMIT = Family(
    Metric.BUDGET_LIMIT, MetricKind.GAUGE, "Limit of each budget of the search, in the same units.", ("budget",)
)
WORK_SECONDS = Family(
    Metric.WORK_SECONDS,
    MetricKind.GAUGE,
    "Seconds of all workers by outcome: useful, repeated (after interruptions), stopped (or paused), failed, idle. All "
    "but idle add up to the time of all leases. Time moves from useful to another outcome when a trial ends.",
    ("outcome",),
)
WORK_COST = Family(
    Metric.WORK_COST,
    MetricKind.GAUGE,
    "Cost of these seconds, in the currency of cost.per_worker_hour. Absent if that is not set.",
    ("outcome",),
)
ATTEMPTS = Family(
    Metric.ATTEMPTS,
    MetricKind.GAUGE,
    "Number of attempts that ended, by outcome and reason: finished (completed, stopped), paused (paused), interrupted "
    "(preempted, lost, environment), failed (failed, out_of_memory, invalid). The number decreases if a chief is "
    "killed before it has written the end of an attempt to the bucket.",
    ("outcome", "reason"),
)
EPOCHS = Family(
    Metric.EPOCHS,
    MetricKind.GAUGE,
    "Number of epochs recorded for all trials. The number decreases if epochs must be trained again.",
)
EPOCHS_SAVED = Family(Metric.EPOCHS_SAVED, MetricKind.GAUGE, "Number of epochs saved by stopping trials early.")
BEST_SCORE = Family(
    Metric.BEST_SCORE, MetricKind.GAUGE, "Objective of the best trial. Absent until a trial has a score."
)
BEST_SCORE_SINCE = Family(
    Metric.BEST_SCORE_SINCE,
    MetricKind.GAUGE,
    "Time at which the best trial ended, in seconds since 1970. The age of the best score is time() minus this value.",
)
RUNG_REACHED = Family(
    Metric.RUNG_REACHED,
    MetricKind.GAUGE,
    "Number of trials, except failed trials, that have reached each rung of early stopping. Rungs are numbered from 0.",
    ("rung",),
)
RUNG_STOPPED = Family(Metric.RUNG_STOPPED, MetricKind.GAUGE, "Number of trials stopped at each rung.", ("rung",))
RUNG_PAUSED = Family(Metric.RUNG_PAUSED, MetricKind.GAUGE, "Number of trials that are paused at each rung.", ("rung",))
TERM = Family(Metric.TERM, MetricKind.GAUGE, "Number of chiefs that the study has had, including this one.")
CHIEF_STARTED = Family(
    Metric.CHIEF_STARTED,
    MetricKind.GAUGE,
    "Time at which this chief started, in seconds since 1970. Absent until the chief has recovered the study. If "
    "several chiefs expose metrics, only those of the chief with the greatest value are valid.",
)
EVALUATION = Family(
    Metric.EVALUATION,
    MetricKind.GAUGE,
    "1 for the current state of the evaluation, 0 for the other states. States: waiting, running, done, failed.",
    ("state",),
)
ACCURACY = Family(Metric.ACCURACY, MetricKind.GAUGE, "Accuracy of the best model on the test images.")
ACCURACY_LOWER = Family(
    Metric.ACCURACY_LOWER, MetricKind.GAUGE, "Lower bound of the 95 % confidence interval of the accuracy."
)
ACCURACY_UPPER = Family(
    Metric.ACCURACY_UPPER, MetricKind.GAUGE, "Upper bound of the 95 % confidence interval of the accuracy."
)
EVALUATION_IMAGES = Family(
    Metric.EVALUATION_IMAGES, MetricKind.GAUGE, "Number of test images on which the accuracy was measured."
)

# ---- the running chief ------------------------------------------------------------------------------
LEASES = Family(Metric.LEASES, MetricKind.GAUGE, "Number of active leases.")
WORKERS = Family(
    Metric.WORKERS,
    MetricKind.GAUGE,
    "Number of workers that the chief knows, by state: training, idle, or silent (no heartbeat for the duration of a "
    "lease).",
    ("state",),
)
WORKERS_BLOCKED = Family(
    Metric.WORKERS_BLOCKED,
    MetricKind.GAUGE,
    "Number of workers that wait because bucket, disk or network keeps them from reading or saving a checkpoint.",
)
OUTAGE_ATTEMPTS = Family(
    Metric.OUTAGE_ATTEMPTS,
    MetricKind.GAUGE,
    "Number of attempts that a failure of bucket, disk or network has ended since the last checkpoint was saved. If it "
    "is above 0, the chief leases single trials, with pauses of up to 5 minutes, until a checkpoint is saved.",
)
WORKERS_WAITING = Family(Metric.WORKERS_WAITING, MetricKind.GAUGE, "Number of workers that are waiting for a trial.")
IMAGES_RATE = Family(
    Metric.IMAGES_RATE,
    MetricKind.GAUGE,
    "Training images per second of all workers, as reported by their heartbeats; samples if the space brings its own "
    "data.",
)
RPC = Family(
    Metric.RPC,
    MetricKind.HISTOGRAM,
    "Duration of calls by workers in seconds. CreateTrial is answered after up to 20 s if no trial is available.",
    ("method",),
)
RPC_ERRORS = Family(
    Metric.RPC_ERRORS,
    MetricKind.COUNTER,
    "Number of calls by workers that were not answered with OK, by gRPC code.",
    ("method", "code"),
)
FLUSH = Family(
    Metric.FLUSH, MetricKind.HISTOGRAM, "Duration of writing a segment of the journal to the bucket, in seconds."
)
RECORDS = Family(Metric.RECORDS, MetricKind.COUNTER, "Number of records written to the journal.")
SEGMENTS = Family(Metric.SEGMENTS, MetricKind.GAUGE, "Number of segments in the study's journal.")
JOURNAL_WAITING = Family(
    Metric.JOURNAL_WAITING,
    MetricKind.GAUGE,
    "Seconds for which the chief has been waiting for the bucket: to accept the oldest unwritten record of the "
    "journal, to confirm that this chief is the newest, or, while the chief recovers the study, to answer its oldest "
    "request. 0 if the chief is not waiting. The chief is not ready if the value is 10 s or more.",
)
SUGGESTION = Family(
    Metric.SUGGESTION, MetricKind.HISTOGRAM, "Time that the search algorithm took to suggest a trial, in seconds."
)

# ---- workers ----------------------------------------------------------------------------------------
WORKER_TIME = Family(
    Metric.WORKER_TIME,
    MetricKind.COUNTER,
    "Seconds spent by activity: wait (for a trial), prepare (build or load the model), train (with validation), "
    "checkpoint (save, and wait until the chief has recorded it), input (prepare batches; with TensorFlow in a "
    "separate thread, in parallel with training).",
    ("activity",),
)
WORKER_EPOCHS = Family(
    Metric.WORKER_EPOCHS, MetricKind.COUNTER, "Number of epochs trained, including those whose results were lost."
)
WORKER_IMAGES = Family(Metric.WORKER_IMAGES, MetricKind.COUNTER, "Number of images trained on.")
WORKER_BEAT = Family(
    Metric.WORKER_BEAT,
    MetricKind.GAUGE,
    "Time at which the chief last answered a heartbeat, in seconds since 1970.",
)
GPUS = Family(Metric.GPUS, MetricKind.GAUGE, "Number of GPUs that the worker found.")
GPUS_MISSING = Family(
    Metric.GPUS_MISSING, MetricKind.GAUGE, "Number of GPUs that the worker requested but did not find."
)
GPU_MEMORY = Family(
    Metric.GPU_MEMORY,
    MetricKind.GAUGE,
    "GPU memory of this process in bytes, by kind: used (current use) and peak. Absent if there is no GPU.",
    ("gpu", "kind"),
)
GPU_UTILIZATION = Family(
    Metric.GPU_UTILIZATION,
    MetricKind.GAUGE,
    "Fraction of the last second or less in which the GPU was computing, also for other processes. Absent without "
    "NVIDIA's driver, and for parts of GPUs.",
    ("gpu",),
)
GPU_DEVICE_MEMORY = Family(
    Metric.GPU_DEVICE_MEMORY,
    MetricKind.GAUGE,
    "Memory of the GPU, or of a part of it, in bytes, by kind: used (by all processes) and total. Absent without "
    "NVIDIA's driver.",
    ("gpu", "kind"),
)
GPU_POWER = Family(
    Metric.GPU_POWER,
    MetricKind.GAUGE,
    "Power that the GPU draws in watts. Absent without NVIDIA's driver, and for parts of GPUs.",
    ("gpu",),
)

WORKER_OUT_OF_MEMORY = Family(
    Metric.WORKER_OUT_OF_MEMORY,
    MetricKind.COUNTER,
    "Number of trials that ran out of memory in this process.",
)

BOTH = (BUILD, READY, BUCKET, BUCKET_ERRORS, BUCKET_BYTES)
CHIEF = (
    SEARCH, SEARCH_STARTED, SEARCH_LEFT, SEARCH_ENDED, TRIALS, TRIALS_PLANNED, BUDGET_USED, BUDGET_LIMIT,
    WORK_SECONDS, WORK_COST, ATTEMPTS, EPOCHS, EPOCHS_SAVED,
    BEST_SCORE, BEST_SCORE_SINCE,
    RUNG_REACHED, RUNG_STOPPED, RUNG_PAUSED, TERM, CHIEF_STARTED, EVALUATION, ACCURACY, ACCURACY_LOWER, ACCURACY_UPPER,
    EVALUATION_IMAGES, LEASES, WORKERS, WORKERS_BLOCKED, OUTAGE_ATTEMPTS, WORKERS_WAITING, IMAGES_RATE, RPC,
    RPC_ERRORS, FLUSH, RECORDS, SEGMENTS, JOURNAL_WAITING, SUGGESTION,
)  # fmt: skip
WORKER = (
    WORKER_TIME, WORKER_EPOCHS, WORKER_IMAGES, WORKER_BEAT, WORKER_OUT_OF_MEMORY, GPUS, GPUS_MISSING, GPU_MEMORY,
    GPU_UTILIZATION, GPU_DEVICE_MEMORY, GPU_POWER,
)  # fmt: skip


def reading(family: Family, values: Mapping[tuple[str, ...], float]) -> MetricFamily:
    """Return a gauge or counter with the given values, each under the values of the labels."""
    kind = {MetricKind.GAUGE: GaugeMetricFamily, MetricKind.COUNTER: CounterMetricFamily}[family.kind]
    metric: GaugeMetricFamily | CounterMetricFamily = kind(family.name, family.help, labels=family.labels)
    for labels, value in values.items():
        metric.add_metric(labels, value)
    return metric


def counter(family: Family, registry: CollectorRegistry | None) -> Counter:
    """Return a new counter of a family."""
    return Counter(family.name, family.help, family.labels, registry=registry)


def histogram(family: Family, registry: CollectorRegistry | None) -> Histogram:
    """Return a new histogram of a family."""
    return Histogram(family.name, family.help, family.labels, buckets=FAST, registry=registry)


class Readings(Collector):
    """Collector of the metrics that `read` computes at each scrape."""

    def __init__(self, read: Callable[[], Iterable[MetricFamily]]) -> None:
        self._read = read

    def describe(self) -> Iterable[MetricFamily]:
        """Return nothing, because the metrics are known only at a scrape."""
        return []

    def collect(self) -> Iterable[MetricFamily]:
        """Return the current metrics."""
        return self._read()
