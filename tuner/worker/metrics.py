"""Metrics of a worker: its time by activity, epochs, images and GPUs."""

from collections.abc import Iterable, Mapping

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric

from tuner.monitoring import catalogue
from tuner.monitoring.catalogue import Readings, counter, reading
from tuner.nvidia import GpuUsage
from tuner.training.activities import Activities
from tuner.training.devices import GpuMemory


class WorkerMetrics:
    """A worker's own metrics, in `registry` if one is given. Must be created in the thread that trains."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.activities = Activities()
        self._epochs = counter(catalogue.WORKER_EPOCHS, registry)
        self._images = counter(catalogue.WORKER_IMAGES, registry)
        self.out_of_memory = counter(catalogue.WORKER_OUT_OF_MEMORY, registry)
        """Number of trials that ran out of memory."""
        self._share = 0.0
        if registry:
            registry.register(Readings(self._spent))

    def _spent(self) -> Iterable[Metric]:
        seconds = self.activities.seconds()
        yield reading(catalogue.WORKER_TIME, {(activity.value,): seconds[activity] for activity in seconds})

    def progress(self, share: float, images: int) -> None:
        """Count the images trained since the last call. The epoch has `images` images; `share` of them is trained."""
        self._images.inc(max(0.0, share - self._share) * images)
        self._share = share

    def epoch(self, images: int) -> None:
        """Count a trained epoch."""
        self.progress(1.0, images)
        self._epochs.inc()
        self._share = 0.0


def gpu_metrics(gpus: int, requested: int, memory: Mapping[str, GpuMemory]) -> Iterable[Metric]:
    """Return the metrics of a worker's GPUs. `memory` contains the memory in use by the name of the GPU."""
    yield reading(catalogue.GPUS, {(): gpus})
    yield reading(catalogue.GPUS_MISSING, {(): max(0, requested - gpus)})
    values: dict[tuple[str, ...], float] = {}
    for gpu, usage in memory.items():
        values |= {(gpu, "used"): usage.used, (gpu, "peak"): usage.peak}
    yield reading(catalogue.GPU_MEMORY, values)


def gpu_usage_metrics(usage: Mapping[str, GpuUsage]) -> Iterable[Metric]:
    """Return the metrics of what the driver reports, by the name of the GPU. Values not reported are absent."""
    utilization = {(gpu,): of.utilization for gpu, of in usage.items()}
    memory = {(gpu, "used"): of.memory_used for gpu, of in usage.items()}
    memory |= {(gpu, "total"): of.memory_total for gpu, of in usage.items()}
    power = {(gpu,): of.power_watts for gpu, of in usage.items()}
    for family, values in (
        (catalogue.GPU_UTILIZATION, utilization),
        (catalogue.GPU_DEVICE_MEMORY, memory),
        (catalogue.GPU_POWER, power),
    ):
        yield reading(family, {labels: value for labels, value in values.items() if value is not None})
