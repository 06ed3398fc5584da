"""NVIDIA's GPUs, as the driver lists and measures them through its management library (NVML)."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

import pynvml

CUDA = "CUDA_VISIBLE_DEVICES"
Value = TypeVar("Value")


@dataclass(frozen=True)
class NvidiaPart:
    """A GPU, or a MIG slice of one."""

    uuid: str
    label: str
    """Name on this machine, such as `GPU 1` or `GPU 0 MIG 2`, with the numbers of nvidia-smi."""
    kind: str
    """Name of its model."""
    handle: Any
    """The driver's handle, which is valid until `close`."""


@dataclass(frozen=True)
class NvidiaGpu:
    """A GPU, with its MIG slices."""

    number: int
    """Number of nvidia-smi, which is its place on the bus."""
    whole: NvidiaPart
    has_mig: bool
    slices: tuple[NvidiaPart, ...]


@dataclass(frozen=True)
class NvidiaGpus:
    """What the driver lists for this process or container."""

    gpus: tuple[NvidiaGpu, ...] = ()
    lost: tuple[str, ...] = ()
    """The GPUs that the driver counts and cannot reach, each with the reason: `GPU 1 (GPU is lost)`."""
    problem: str = ""
    """Why the GPUs cannot be listed; empty if they can, or if there is no driver."""


@dataclass(frozen=True)
class Selected:
    """A GPU or slice that an entry of CUDA_VISIBLE_DEVICES selects."""

    token: str
    """Value of CUDA_VISIBLE_DEVICES that selects it alone."""
    part: NvidiaPart
    is_certain: bool = True
    """Whether CUDA selects this part. By default CUDA numbers the fastest GPU 0, and NVML the first on the bus. Of a
    slice in the notation of drivers before R470, the part is the whole GPU."""


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


def list_gpus() -> NvidiaGpus:
    """Return the GPUs of this machine. The driver remains open until `close`."""
    try:
        pynvml.nvmlInit()
    except (pynvml.NVMLError_LibraryNotFound, pynvml.NVMLError_DriverNotLoaded):
        return NvidiaGpus()  # the driver's package may be installed on a machine without a GPU of NVIDIA
    except pynvml.NVMLError as error:
        return NvidiaGpus(problem=_problem(error))
    try:
        count = pynvml.nvmlDeviceGetCount()
    except pynvml.NVMLError as error:
        return NvidiaGpus(problem=_problem(error))
    gpus, lost = [], []
    for number in range(count):
        try:
            gpus.append(_gpu(number))
        except pynvml.NVMLError as error:
            lost.append(f"GPU {number} ({str(error).rstrip('.')})")
    return NvidiaGpus(tuple(gpus), tuple(lost))


def close() -> None:
    """Close the driver. Each call of `list_gpus` may be followed by one of `close`."""
    with suppress(pynvml.NVMLError):  # it was not opened
        pynvml.nvmlShutdown()


def visible(found: NvidiaGpus, environment: Mapping[str, str]) -> list[Selected]:
    """Return what CUDA_VISIBLE_DEVICES selects; without it, all GPUs, or their slices if MIG is on.

    If GPUs are lost, those that are selected by number are named by their UUIDs, because CUDA may number the others.
    """
    chosen = environment.get(CUDA)
    if chosen is None:
        parts = (part for gpu in found.gpus for part in (gpu.slices if gpu.has_mig else (gpu.whole,)))
        return [Selected(part.uuid, part) for part in parts]
    in_order = environment.get("CUDA_DEVICE_ORDER") == "PCI_BUS_ID" or len({g.whole.kind for g in found.gpus}) == 1
    selected: dict[str, Selected] = {}
    for token in (entry.strip() for entry in chosen.split(",")):
        if token in selected:
            break  # CUDA ignores what follows an invalid entry
        if token.isdecimal() and len(token) < 6 and int(token) < len(found.gpus) + len(found.lost):
            whole = next((gpu.whole for gpu in found.gpus if gpu.number == int(token)), None)
            if whole is not None:  # else it is lost
                selected[token] = Selected(whole.uuid if found.lost else token, whole, in_order)
            continue
        if (of_uuid := _of_uuid(found.gpus, token)) is None:
            break
        selected[token] = of_uuid
    return list(selected.values())


def usage_of(part: NvidiaPart) -> GpuUsage:
    """Return what the driver reports of a GPU or slice now."""

    def reported(read: Callable[[Any], Value]) -> Value | None:
        with suppress(pynvml.NVMLError):  # not of every GPU, not of slices, and not of a GPU that was lost
            return read(part.handle)
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


def _problem(error: Exception) -> str:
    return f"NVIDIA's driver cannot list the GPUs: {str(error).rstrip('.')}"


def _gpu(number: int) -> NvidiaGpu:
    """Return a GPU. Raises NVMLError if the driver cannot reach it."""
    handle = pynvml.nvmlDeviceGetHandleByIndex(number)
    whole = _part(handle, f"GPU {number}")
    try:
        has_mig = pynvml.nvmlDeviceGetMigMode(handle)[0] == pynvml.NVML_DEVICE_MIG_ENABLE
    except pynvml.NVMLError:  # before Ampere, or a driver without MIG
        has_mig = False
    slices = []
    for place in range(pynvml.nvmlDeviceGetMaxMigDeviceCount(handle) if has_mig else 0):
        with suppress(pynvml.NVMLError_NotFound):  # numbers of slices have gaps
            part = pynvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, place)
            slices.append(_part(part, f"GPU {number} MIG {place}"))
    return NvidiaGpu(number, whole, has_mig, tuple(slices))


def _part(handle: Any, label: str) -> NvidiaPart:
    return NvidiaPart(pynvml.nvmlDeviceGetUUID(handle), label, pynvml.nvmlDeviceGetName(handle), handle)


def _of_uuid(gpus: Sequence[NvidiaGpu], token: str) -> Selected | None:
    """Return what a UUID, or the unique start of a UUID, selects."""
    if token.startswith("MIG-GPU-"):  # of drivers before R470: MIG-GPU-<UUID of the GPU>/<number>/<number>
        wholes = (gpu.whole for gpu in gpus if token.startswith(f"MIG-{gpu.whole.uuid}/"))
        return next((Selected(token, whole, is_certain=False) for whole in wholes), None)
    if not token.startswith(("GPU-", "MIG-")):
        return None
    every = [part for gpu in gpus for part in (gpu.whole, *gpu.slices)]
    matching = [part for part in every if part.uuid.startswith(token)]
    return Selected(token, matching[0]) if len(matching) == 1 else None
