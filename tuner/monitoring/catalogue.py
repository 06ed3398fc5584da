"""Every metric: its name, kind and labels, and the sentence that says what it is. docs/metrics.md is made of this.

No label has values without bound: a trial's id is none, nor is a worker's name, nor anything that a user wrote, but
the study's name, of which a process has one.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from tuner import names


class Role(StrEnum):
    """Whose metrics they are."""

    CHIEF = "chief"
    WORKER = "worker"


class MetricKind(StrEnum):
    """What a number is."""

    GAUGE = "gauge"  # may go up and down
    COUNTER = "counter"  # only goes up, but for a new process of the same role
    HISTOGRAM = "histogram"


FAST = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Seconds: from a flush to a local disk to the deadline of an operation on a bucket that is down."""


@dataclass(frozen=True)
class Family:
    """One metric, with all values of its labels."""

    name: names.Metric
    kind: MetricKind
    help: str
    labels: tuple[str, ...] = ()


# ---- both -----------------------------------------------------------------------------------------
BUILD = Family(names.Metric.BUILD, MetricKind.GAUGE, "1; the labels say which program this is.", ("version", "role"))
READY = Family(
    names.Metric.READY,
    MetricKind.GAUGE,
    "1 where /readyz says so: a chief serves its workers and can write its journal, a worker has joined and its "
    "heartbeats are answered; else 0.",
    ("role",),
)
BUCKET = Family(
    names.Metric.BUCKET,
    MetricKind.HISTOGRAM,
    "Seconds that an operation on the bucket took, with all its retries.",
    ("operation",),
)
BUCKET_ERRORS = Family(
    names.Metric.BUCKET_ERRORS,
    MetricKind.COUNTER,
    "Operations on the bucket that failed, after all retries; that an object is missing, or there already, is an "
    "answer and no failure.",
    ("operation",),
)
BUCKET_BYTES = Family(
    names.Metric.BUCKET_BYTES, MetricKind.COUNTER, "Bytes read from the bucket and written to it.", ("direction",)
)

# ---- the chief, out of the journal: a chief that is started again goes on where the last one was --------------------
SEARCH = Family(
    names.Metric.SEARCH,
    MetricKind.GAUGE,
    "1 for the state that the search is in: running, finished, given_up.",
    ("state",),
)
SEARCH_STARTED = Family(names.Metric.SEARCH_STARTED, MetricKind.GAUGE, "When the first trial was begun.")
SEARCH_LEFT = Family(
    names.Metric.SEARCH_LEFT,
    MetricKind.GAUGE,
    "Seconds until the search is over, if the rest goes on as it went since this chief was started; absent as long as "
    "that cannot be known, with hyperband, and where it is over.",
)
SEARCH_ENDED = Family(names.Metric.SEARCH_ENDED, MetricKind.GAUGE, "When the search was over; absent where it goes on.")
TRIALS = Family(
    names.Metric.TRIALS, MetricKind.GAUGE, "Trials by state: queued, running, completed, stopped, failed.", ("state",)
)
TRIALS_PLANNED = Family(
    names.Metric.TRIALS_PLANNED,
    MetricKind.GAUGE,
    "How many trials the search will have; absent for hyperband, which makes its own number.",
)
ATTEMPTS = Family(
    names.Metric.ATTEMPTS,
    MetricKind.GAUGE,
    "Attempts that ended, by outcome and reason: finished (completed, stopped), interrupted (preempted, lost), failed "
    "(failed, out_of_memory, invalid). It falls by those that a killed chief had not written to the bucket.",
    ("outcome", "reason"),
)
EPOCHS = Family(
    names.Metric.EPOCHS, MetricKind.GAUGE, "Epochs that the trials have. It falls where some must be trained again."
)
EPOCHS_SAVED = Family(
    names.Metric.EPOCHS_SAVED, MetricKind.GAUGE, "Epochs that trials were spared which were stopped early."
)
BEST_SCORE = Family(
    names.Metric.BEST_SCORE, MetricKind.GAUGE, "The best trial's objective; absent before there is one."
)
BEST_SCORE_SINCE = Family(
    names.Metric.BEST_SCORE_SINCE,
    MetricKind.GAUGE,
    "When the best trial ended; time() less this is the best score's age.",
)
RUNG_REACHED = Family(
    names.Metric.RUNG_REACHED,
    MetricKind.GAUGE,
    "Trials that have reached each rung of early stopping, from 0, without those that failed.",
    ("rung",),
)
RUNG_STOPPED = Family(names.Metric.RUNG_STOPPED, MetricKind.GAUGE, "Trials that were stopped at each rung.", ("rung",))
TERM = Family(names.Metric.TERM, MetricKind.GAUGE, "How many chiefs the study has had, this one included.")
CHIEF_STARTED = Family(
    names.Metric.CHIEF_STARTED,
    MetricKind.GAUGE,
    "When this chief was started; shown as soon as it has recovered the study. Of several chiefs' numbers those of the "
    "one with the greatest are the study's.",
)
EVALUATION = Family(
    names.Metric.EVALUATION,
    MetricKind.GAUGE,
    "1 for the state that the evaluation is in: waiting, running, done, failed.",
    ("state",),
)
ACCURACY = Family(names.Metric.ACCURACY, MetricKind.GAUGE, "The best model's accuracy on the test images.")
ACCURACY_LOWER = Family(names.Metric.ACCURACY_LOWER, MetricKind.GAUGE, "Lower end of the accuracy's 95 % interval.")
ACCURACY_UPPER = Family(names.Metric.ACCURACY_UPPER, MetricKind.GAUGE, "Upper end of the accuracy's 95 % interval.")
EVALUATION_IMAGES = Family(names.Metric.EVALUATION_IMAGES, MetricKind.GAUGE, "Test images behind the accuracy.")

# ---- the chief, as it runs --------------------------------------------------------------------------
LEASES = Family(names.Metric.LEASES, MetricKind.GAUGE, "Leases that are out.")
WORKERS = Family(
    names.Metric.WORKERS,
    MetricKind.GAUGE,
    "Workers that the chief knows: training, idle, or silent for as long as a lease lasts.",
    ("state",),
)
WORKERS_WAITING = Family(
    names.Metric.WORKERS_WAITING, MetricKind.GAUGE, "Workers whose call for a trial waits for one at this moment."
)
IMAGES_RATE = Family(
    names.Metric.IMAGES_RATE, MetricKind.GAUGE, "Training images a second of all workers, as their heartbeats say."
)
RPC = Family(
    names.Metric.RPC,
    MetricKind.HISTOGRAM,
    "Seconds until a call of a worker was answered. CreateTrial is held back for 20 s where no trial waits.",
    ("method",),
)
RPC_ERRORS = Family(
    names.Metric.RPC_ERRORS,
    MetricKind.COUNTER,
    "Calls that were not answered with OK, by gRPC's code.",
    ("method", "code"),
)
FLUSH = Family(
    names.Metric.FLUSH, MetricKind.HISTOGRAM, "Seconds that the journal took to write a segment to the bucket."
)
RECORDS = Family(names.Metric.RECORDS, MetricKind.COUNTER, "Records that were written to the journal.")
SEGMENTS = Family(names.Metric.SEGMENTS, MetricKind.GAUGE, "Segments that the study's journal has.")
JOURNAL_WAITING = Family(
    names.Metric.JOURNAL_WAITING,
    MetricKind.GAUGE,
    "Seconds for which the bucket has not taken the journal's oldest record, or not said whether this chief is the "
    "newest; while it recovers the study, for which the bucket has not answered what it was asked first. 0 where there "
    "is nothing to wait for. From 10 on the chief is not ready.",
)
SUGGESTION = Family(
    names.Metric.SUGGESTION, MetricKind.HISTOGRAM, "Seconds that the algorithm took to suggest a trial."
)

# ---- workers ----------------------------------------------------------------------------------------
WORKER_TIME = Family(
    names.Metric.WORKER_TIME,
    MetricKind.COUNTER,
    "Seconds by activity: wait (for a trial), prepare (build or load the model), train (with validation), checkpoint "
    "(save, and wait until the chief knows), input (make batches; with TensorFlow in a thread of its own, beside the "
    "training).",
    ("activity",),
)
WORKER_EPOCHS = Family(names.Metric.WORKER_EPOCHS, MetricKind.COUNTER, "Epochs trained, also those that did not count.")
WORKER_IMAGES = Family(names.Metric.WORKER_IMAGES, MetricKind.COUNTER, "Images trained on.")
WORKER_BEAT = Family(names.Metric.WORKER_BEAT, MetricKind.GAUGE, "When the chief last answered a heartbeat.")
GPUS = Family(names.Metric.GPUS, MetricKind.GAUGE, "GPUs that the worker found.")
GPUS_MISSING = Family(names.Metric.GPUS_MISSING, MetricKind.GAUGE, "GPUs that the worker asked for and did not find.")
GPU_MEMORY = Family(
    names.Metric.GPU_MEMORY,
    MetricKind.GAUGE,
    "Bytes of GPU memory, used now and at the most; absent where there is no GPU.",
    ("gpu", "kind"),
)

BOTH = (BUILD, READY, BUCKET, BUCKET_ERRORS, BUCKET_BYTES)
CHIEF = (
    SEARCH, SEARCH_STARTED, SEARCH_LEFT, SEARCH_ENDED, TRIALS, TRIALS_PLANNED, ATTEMPTS, EPOCHS, EPOCHS_SAVED,
    BEST_SCORE, BEST_SCORE_SINCE,
    RUNG_REACHED, RUNG_STOPPED, TERM, CHIEF_STARTED, EVALUATION, ACCURACY, ACCURACY_LOWER, ACCURACY_UPPER,
    EVALUATION_IMAGES, LEASES, WORKERS, WORKERS_WAITING, IMAGES_RATE, RPC, RPC_ERRORS, FLUSH, RECORDS, SEGMENTS,
    JOURNAL_WAITING, SUGGESTION,
)  # fmt: skip
WORKER = (WORKER_TIME, WORKER_EPOCHS, WORKER_IMAGES, WORKER_BEAT, GPUS, GPUS_MISSING, GPU_MEMORY)


def reading(family: Family, values: Mapping[tuple[str, ...], float]) -> Metric:
    """Return a gauge or counter whose values, by those of its labels, were read off elsewhere."""
    kind = {MetricKind.GAUGE: GaugeMetricFamily, MetricKind.COUNTER: CounterMetricFamily}[family.kind]
    metric: GaugeMetricFamily | CounterMetricFamily = kind(family.name, family.help, labels=family.labels)
    for labels, value in values.items():
        metric.add_metric(labels, value)
    return metric


def counter(family: Family, registry: CollectorRegistry | None) -> Counter:
    """Return a counter to count with."""
    return Counter(family.name, family.help, family.labels, registry=registry)


def histogram(family: Family, registry: CollectorRegistry | None) -> Histogram:
    """Return a histogram to observe with."""
    return Histogram(family.name, family.help, family.labels, buckets=FAST, registry=registry)


class Readings(Collector):
    """Metrics that `read` computes at each scrape."""

    def __init__(self, read: Callable[[], Iterable[Metric]]) -> None:
        self._read = read

    def describe(self) -> Iterable[Metric]:
        """Return none: what is read is known at a scrape only."""
        return []

    def collect(self) -> Iterable[Metric]:
        """Return what is read now."""
        return self._read()
