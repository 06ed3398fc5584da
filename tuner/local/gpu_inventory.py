"""The GPUs of this machine that the user's variables leave visible to `run`."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tuner import nvidia

CUDA, HIP, ROCR = nvidia.CUDA, "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES"
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
    lost: tuple[str, ...] = ()
    """The GPUs that the driver cannot reach, which are left out, each with the reason: `GPU 1 (GPU is lost)`."""

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
    found = nvidia.list_gpus()
    nvidia.close()
    if found.gpus or found.lost or found.problem:
        chosen = nvidia.visible(found, environment)
        gpus = (Gpu(one.token, one.part.label, one.part.kind if one.is_certain else "") for one in chosen)
        return GpuInventory(tuple(gpus), CUDA, found.problem, found.lost)
    return GpuInventory(_visible_amd(_count_amd(kfd_nodes, render_nodes), environment), HIP)


@dataclass(frozen=True)
class GpuMemoryUse:
    """Number of bytes of a GPU's memory that all processes use, and that it has."""

    used: int
    total: int


def memory_of(token: str) -> GpuMemoryUse | None:
    """Return the memory of the NVIDIA GPU that this entry of CUDA_VISIBLE_DEVICES selects; None if it is unknown."""
    try:
        for selected in nvidia.visible(nvidia.list_gpus(), {CUDA: token}):
            usage = nvidia.usage_of(selected.part)
            if selected.is_certain and usage.memory_used is not None and usage.memory_total is not None:
                return GpuMemoryUse(usage.memory_used, usage.memory_total)
        return None
    finally:
        nvidia.close()


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
