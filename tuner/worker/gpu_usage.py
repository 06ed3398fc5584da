"""How busy a worker's GPUs are: what NVIDIA's driver reports of them through its management library (NVML)."""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

log = logging.getLogger(__name__)
Value = TypeVar("Value")


@dataclass(frozen=True)
class GpuUsage:
    """What the driver reports of one GPU. A value is None if the driver does not report it."""

    utilization: float | None = None
    """Fraction of the driver's last sample, of a second or less, in which any process computed on the GPU."""
    memory_used: int | None = None
    """Bytes of the GPU's memory that all processes use."""
    memory_total: int | None = None
    """Bytes of the GPU's memory."""
    power_watts: float | None = None


class GpuUsageReader:
    """Reads the usage of the GPUs that this process sees. There are none without the library or the driver."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._visible = environment.get("CUDA_VISIBLE_DEVICES")
        self._handles: list[Any] | None = None

    def read(self) -> dict[int, GpuUsage]:
        """Return the usage by the number of the GPU, in CUDA's order for this process."""
        if self._handles is None:
            self._handles = _open(self._visible)
        return {number: _usage(handle) for number, handle in enumerate(self._handles)}


def _open(visible: str | None) -> list[Any]:
    """Return the driver's handles of the visible GPUs. The driver remains open for as long as the process runs."""
    try:
        import pynvml
    except ImportError:
        return []
    try:
        pynvml.nvmlInit()
        return list(_visible_handles(visible))
    except pynvml.NVMLError as error:
        log.debug("the usage of GPUs is not reported: %s", error)
        return []


def _visible_handles(visible: str | None) -> Iterator[Any]:
    """Yield the handles that CUDA_VISIBLE_DEVICES selects. Without it, a divided GPU is replaced by its parts."""
    import pynvml

    gpus = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())]
    parts = {index: _parts(gpu) for index, gpu in enumerate(gpus)}
    if visible is None:
        for index, gpu in enumerate(gpus):
            yield from parts[index] or [gpu]
        return
    handles = [handle for index, gpu in enumerate(gpus) for handle in (gpu, *parts[index])]
    by_uuid = {pynvml.nvmlDeviceGetUUID(handle): handle for handle in handles}
    for token in (token.strip() for token in visible.split(",")):
        if token.isdecimal() and int(token) < len(gpus):
            yield gpus[int(token)]
            continue
        matching = [uuid for uuid in by_uuid if token and uuid.startswith(token)]
        if len(matching) != 1:
            return  # CUDA ignores what follows an invalid entry, too
        yield by_uuid[matching[0]]


def _parts(gpu: Any) -> list[Any]:
    """Return the handles of the parts (MIG instances) of a GPU; none if it is not divided."""
    import pynvml

    parts = []
    with suppress(pynvml.NVMLError):  # GPUs before Ampere cannot be divided
        if pynvml.nvmlDeviceGetMigMode(gpu)[0] == pynvml.NVML_DEVICE_MIG_ENABLE:
            for number in range(pynvml.nvmlDeviceGetMaxMigDeviceCount(gpu)):
                with suppress(pynvml.NVMLError_NotFound):  # their numbers have gaps
                    parts.append(pynvml.nvmlDeviceGetMigDeviceHandleByIndex(gpu, number))
    return parts


def _usage(handle: Any) -> GpuUsage:
    import pynvml

    def reported(read: Callable[[Any], Value]) -> Value | None:
        with suppress(pynvml.NVMLError):  # not of every GPU, not of parts, and not of a GPU that was lost
            return read(handle)
        return None

    rates = reported(pynvml.nvmlDeviceGetUtilizationRates)
    memory = reported(pynvml.nvmlDeviceGetMemoryInfo)
    milliwatts = reported(pynvml.nvmlDeviceGetPowerUsage)
    return GpuUsage(
        utilization=None if rates is None else rates.gpu / 100,
        memory_used=None if memory is None else int(memory.used),
        memory_total=None if memory is None else int(memory.total),
        power_watts=None if milliwatts is None else milliwatts / 1000,
    )
