"""What a worker measures as it goes: where its time goes, epochs, images, and its GPUs."""

from collections.abc import Iterable, Mapping

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric

from tuner.monitoring import catalogue
from tuner.monitoring.catalogue import Readings, counter, reading
from tuner.training.activities import Activities
from tuner.training.devices import GpuMemory


class WorkerMetrics:
    """A worker's own metrics; registered nowhere where no registry is given. To be made in the thread that trains."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.activities = Activities()
        self._epochs = counter(catalogue.WORKER_EPOCHS, registry)
        self._images = counter(catalogue.WORKER_IMAGES, registry)
        self._share = 0.0
        if registry:
            registry.register(Readings(self._spent))

    def _spent(self) -> Iterable[Metric]:
        seconds = self.activities.seconds()
        yield reading(catalogue.WORKER_TIME, {(activity.value,): seconds[activity] for activity in seconds})

    def progress(self, share: float, images: int) -> None:
        """Count what an epoch of so many images has seen of them since the last call; `share` of it is trained."""
        self._images.inc(max(0.0, share - self._share) * images)
        self._share = share

    def epoch(self, images: int) -> None:
        """Count an epoch that is trained."""
        self.progress(1.0, images)
        self._epochs.inc()
        self._share = 0.0


def gpu_metrics(found: int, asked: int, memory: Mapping[int, GpuMemory]) -> Iterable[Metric]:
    """Return what there is to say of a worker's GPUs, by their numbers."""
    yield reading(catalogue.GPUS, {(): found})
    yield reading(catalogue.GPUS_MISSING, {(): max(0, asked - found)})
    values: dict[tuple[str, ...], float] = {}
    for gpu, each in memory.items():
        values |= {(str(gpu), "used"): each.used, (str(gpu), "peak"): each.peak}
    yield reading(catalogue.GPU_MEMORY, values)
