"""The GPUs of this machine that the user's variables leave visible to `run`."""

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

CUDA, HIP, ROCR = "CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES"
KFD_NODES, RENDER_NODES = Path("/sys/class/kfd/kfd/topology/nodes"), Path("/dev/dri")


@dataclass(frozen=True)
class Gpu:
    """A GPU, or a MIG slice of one, that a process can be given."""

    token: str
    """Value of the inventory's variable that selects this GPU: its UUID or number, or what the user wrote."""
    label: str
    """The GPU on this machine, such as `GPU 1` or `GPU 0 MIG 2`. Numbers are those of nvidia-smi, or the user's."""
    kind: str = ""
    """Name of its model; empty if it is unknown."""


@dataclass(frozen=True)
class GpuInventory:
    """The GPUs that `run` may use."""

    gpus: tuple[Gpu, ...] = ()
    variable: str = CUDA
    """Environment variable that selects a process's GPUs."""
    problem: str = ""
    """Why the GPUs cannot be listed; empty if they can, or if there is no driver."""

    @property
    def kinds(self) -> str:
        """Names of the GPUs' models, without repetition."""
        return ", ".join(dict.fromkeys(gpu.kind for gpu in self.gpus if gpu.kind))


def find_gpus(
    environment: Mapping[str, str], kfd_nodes: Path = KFD_NODES, render_nodes: Path = RENDER_NODES
) -> GpuInventory:
    """Return the GPUs of this machine that the user's variables leave visible.

    Args:
        environment: This process's environment.
        kfd_nodes: Folder in which AMD's driver lists processors and GPUs.
        render_nodes: Folder of the devices by which processes use AMD's GPUs.
    """
    nvidia, problem = _nvidia_devices()
    if nvidia or problem:
        return GpuInventory(_visible_nvidia(nvidia, environment), CUDA, problem)
    return GpuInventory(_visible_amd(_count_amd(kfd_nodes, render_nodes), environment), HIP)


@dataclass(frozen=True)
class GpuMemoryUse:
    """Number of bytes of a GPU's memory that all processes use, and that it has."""

    used: int
    total: int


def memory_of(token: str) -> GpuMemoryUse | None:
    """Return the memory of the NVIDIA GPU that this entry of CUDA_VISIBLE_DEVICES selects; None if it is unknown."""
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    try:
        by_number = token.isdecimal()
        handle = (pynvml.nvmlDeviceGetHandleByIndex if by_number else pynvml.nvmlDeviceGetHandleByUUID)(
            int(token) if by_number else token
        )
        memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
        return GpuMemoryUse(int(memory.used), int(memory.total))
    except pynvml.NVMLError:
        return None
    finally:
        pynvml.nvmlShutdown()


# ---- NVIDIA ---------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class _NvidiaDevice:
    """A GPU as NVIDIA's management library lists it."""

    gpu: Gpu
    has_mig: bool
    slices: tuple[Gpu, ...] = field(default=())


def _nvidia_devices() -> tuple[list[_NvidiaDevice], str]:
    """Return the GPUs that NVIDIA's driver lists for this process or container, and why they cannot be listed."""
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError_LibraryNotFound:
        return [], ""
    except pynvml.NVMLError as error:
        return [], _problem(error)
    try:
        return [_nvidia_device(index) for index in range(pynvml.nvmlDeviceGetCount())], ""
    except pynvml.NVMLError as error:
        return [], _problem(error)
    finally:
        pynvml.nvmlShutdown()


def _problem(error: Exception) -> str:
    return f"NVIDIA's driver cannot list the GPUs: {str(error).rstrip('.')}"


def _nvidia_device(index: int) -> _NvidiaDevice:
    import pynvml

    handle = pynvml.nvmlDeviceGetHandleByIndex(index)
    gpu = Gpu(pynvml.nvmlDeviceGetUUID(handle), f"GPU {index}", pynvml.nvmlDeviceGetName(handle))
    try:
        has_mig = pynvml.nvmlDeviceGetMigMode(handle)[0] == pynvml.NVML_DEVICE_MIG_ENABLE
    except pynvml.NVMLError:  # before Ampere, or a driver without MIG
        has_mig = False
    slices = []
    for number in range(pynvml.nvmlDeviceGetMaxMigDeviceCount(handle) if has_mig else 0):
        with suppress(pynvml.NVMLError_NotFound):  # numbers of slices have gaps
            part = pynvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, number)
            label = f"GPU {index} MIG {number}"
            slices.append(Gpu(pynvml.nvmlDeviceGetUUID(part), label, pynvml.nvmlDeviceGetName(part)))
    return _NvidiaDevice(gpu, has_mig, tuple(slices))


def _visible_nvidia(devices: Sequence[_NvidiaDevice], environment: Mapping[str, str]) -> tuple[Gpu, ...]:
    """Return the GPUs that CUDA_VISIBLE_DEVICES selects; without it, all GPUs, or their slices if MIG is on."""
    chosen = environment.get(CUDA)
    if chosen is None:
        return tuple(gpu for device in devices for gpu in (device.slices if device.has_mig else (device.gpu,)))
    in_order = environment.get("CUDA_DEVICE_ORDER") == "PCI_BUS_ID" or len({d.gpu.kind for d in devices}) == 1
    visible: dict[str, Gpu] = {}
    for token in (part.strip() for part in chosen.split(",")):
        gpu = _selected(devices, token)
        if gpu is None or token in visible:
            break  # CUDA ignores what follows an invalid entry
        # by default CUDA numbers the fastest GPU 0, and NVIDIA's management library the first on the bus
        kind = "" if token.isdecimal() and not in_order else gpu.kind
        visible[token] = replace(gpu, token=token, kind=kind)
    return tuple(visible.values())


def _selected(devices: Sequence[_NvidiaDevice], token: str) -> Gpu | None:
    """Return the GPU that an entry of CUDA_VISIBLE_DEVICES selects: a number, a UUID, or the unique start of a UUID."""
    if token.isdecimal():
        return devices[int(token)].gpu if len(token) < 6 and int(token) < len(devices) else None
    if token.startswith("MIG-GPU-"):  # of drivers before R470: MIG-GPU-<UUID of the GPU>/<number>/<number>
        return next((replace(d.gpu, token=token) for d in devices if token.startswith(f"MIG-{d.gpu.token}/")), None)
    if not token.startswith(("GPU-", "MIG-")):
        return None
    every = [gpu for device in devices for gpu in (device.gpu, *device.slices)]
    matching = [gpu for gpu in every if gpu.token.startswith(token)]
    return matching[0] if len(matching) == 1 else None


# ---- AMD ------------------------------------------------------------------------------------------------------------
def _count_amd(kfd_nodes: Path, render_nodes: Path) -> int:
    """Return the number of AMD's GPUs that this process may use. A container sees all nodes, but not all devices."""
    return sum(_is_usable_gpu(node, render_nodes) for node in kfd_nodes.glob("*/properties"))


def _is_usable_gpu(node: Path, render_nodes: Path) -> bool:
    try:
        lines = (line.split() for line in node.read_text().splitlines())
        properties = {parts[0]: parts[1] for parts in lines if len(parts) == 2}
    except OSError:
        return False
    device = render_nodes / f"renderD{properties.get('drm_render_minor', '')}"
    return properties.get("simd_count", "0") != "0" and os.access(device, os.R_OK | os.W_OK)  # a CPU has no SIMD units


def _visible_amd(count: int, environment: Mapping[str, str]) -> tuple[Gpu, ...]:
    """Return the GPUs that AMD's variables select. The other variables number what ROCR_VISIBLE_DEVICES leaves."""
    if (of_rocr := environment.get(ROCR)) is not None:
        count = len(_numbered(of_rocr, count))
    chosen = environment.get(HIP, environment.get(CUDA))  # HIP reads CUDA's variable, too
    tokens = [str(number) for number in range(count)] if chosen is None else _numbered(chosen, count)
    return tuple(Gpu(token, f"GPU {token}") for token in tokens)


def _numbered(chosen: str, count: int) -> list[str]:
    """Return the entries up to the first that is neither a UUID nor the number of one of `count` GPUs."""
    tokens: list[str] = []
    for token in (part.strip() for part in chosen.split(",")):
        is_number = token.isdecimal() and len(token) < 6 and int(token) < count
        if token in tokens or not (is_number or token.startswith("GPU-")):
            break
        tokens.append(token)
    return tokens
