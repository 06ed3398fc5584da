"""The environment variables that give each process of `run` its GPUs.

The user's own variables come first: the inventory contains only GPUs that they leave visible, and variables of the
memory are not replaced.
"""

import pkgutil
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import distributions
from importlib.util import find_spec

from tuner import names
from tuner.local.gpu_inventory import Gpu, GpuInventory
from tuner.report.text import counted
from tuner.study.status import WorkerStatus

NONE = "-1"
"""Value of CUDA_VISIBLE_DEVICES and HIP_VISIBLE_DEVICES that hides all GPUs."""
SHARED_FRACTION = 0.9
"""Fraction of a GPU's memory that the workers sharing it may use. Each process needs some more beside its arrays."""


def workers_for(inventory: GpuInventory, backend: str) -> int:
    """Return the number of workers of `--workers auto`: one for each GPU, and one if `backend` cannot use GPUs."""
    return len(inventory.gpus) if inventory.gpus and can_use_gpus(backend) else 1


def gpu_problems(inventory: GpuInventory, backend: str, is_auto: bool) -> Iterable[str]:
    """Yield why GPUs of this machine will not be used. `is_auto` means that the user chose no number of workers."""
    if inventory.problem:
        yield f"{inventory.problem}. Without its list, GPUs are not distributed among workers. Check nvidia-smi."
    if inventory.lost:
        yield f"NVIDIA's driver cannot reach {', '.join(inventory.lost)}, so no worker gets it; check nvidia-smi."
    if inventory.gpus and not can_use_gpus(backend):
        found = counted(len(inventory.gpus), "GPU")
        consequence = ", so one worker is started" if is_auto else ""
        yield (
            f"this machine has {found}, but the installed {backend} has no code for GPUs{consequence}. Install "
            "requirements/cuda.txt (TensorFlow) or requirements/jax-cuda.txt (JAX) to train on GPUs."
        )


def can_use_gpus(backend: str) -> bool:
    """Return whether the installed packages of a Keras backend contain code for GPUs."""
    if backend == "tensorflow":
        installed = {str(part.metadata["Name"]).lower().replace("_", "-") for part in distributions()}
        return not installed & {"tensorflow-cpu", "intel-tensorflow"} or "tensorflow" in installed
    return any(module.name.startswith(("jax_cuda", "jax_rocm")) for module in pkgutil.iter_modules()) or _has_plugins()


def gpus_of(inventory: GpuInventory, index: int, workers: int) -> tuple[Gpu, ...]:
    """Return the GPUs of worker `index` of `workers`: each n-th GPU of n workers, or one that it shares.

    Of MIG slices, a worker gets a single one, because CUDA uses only one in a process.
    """
    own = inventory.gpus[index::workers] or inventory.gpus[index % max(1, len(inventory.gpus)) :][:1]
    return own[:1] if any(gpu.token.startswith("MIG-") for gpu in own) else own


def worker_variables(
    inventory: GpuInventory, index: int, workers: int, environment: Mapping[str, str]
) -> dict[str, str]:
    """Return the variables that give worker `index` of `workers` its GPUs, and its share of a GPU's memory.

    `gpus_of` returns which. Workers that share a GPU allocate memory as they need it, up to equal shares with JAX.
    TensorFlow has no variable for a limit. The user's `environment` takes precedence over the variables of the memory.
    """
    if not inventory.gpus:
        return {}
    own = gpus_of(inventory, index, workers)
    variables = _selecting(inventory, own) | {names.ENV_GPUS: str(len(own))}
    share = len(range(index % len(inventory.gpus), workers, len(inventory.gpus)))
    if share == 1:
        return variables
    memory = {"TF_FORCE_GPU_ALLOW_GROWTH": "true", "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    if not environment.get("XLA_CLIENT_MEM_FRACTION"):  # JAX refuses both names at the same time
        memory["XLA_PYTHON_CLIENT_MEM_FRACTION"] = f"{SHARED_FRACTION / share:.4f}"
    return variables | {name: value for name, value in memory.items() if not environment.get(name)}


class UnusedGpus:
    """Finds the workers that were given a GPU and train on the CPU. Each is reported once."""

    def __init__(self, inventory: GpuInventory) -> None:
        self._has_gpus = bool(inventory.gpus)
        self._reported: set[str] = set()

    def lines(self, workers: Iterable[WorkerStatus]) -> list[str]:
        """Return a line for each worker of this kind that was not reported before."""
        unused = {worker.worker for worker in workers if worker.gpus == 0} if self._has_gpus else set()
        lines = [
            f"{worker} was given a GPU and finds none, so it trains on the CPU. Its log has the reason. Install "
            "requirements/cuda.txt (TensorFlow) or requirements/jax-cuda.txt (JAX)."
            for worker in sorted(unused - self._reported)
        ]
        self._reported |= unused
        return lines


def evaluator_variables(inventory: GpuInventory) -> dict[str, str]:
    """Return the variables that give the evaluator the first GPU. The workers have ended when it starts."""
    return _selecting(inventory, inventory.gpus[:1]) if inventory.gpus else {}


def chief_variables(inventory: GpuInventory) -> dict[str, str]:
    """Return the variables that hide the GPUs from the chief, which trains nothing and would reserve their memory."""
    return {inventory.variable: NONE, "JAX_PLATFORMS": "cpu"} if inventory.gpus else {}


def _selecting(inventory: GpuInventory, gpus: Sequence[Gpu]) -> dict[str, str]:
    tokens, labels = ",".join(gpu.token for gpu in gpus), ", ".join(gpu.label for gpu in gpus)
    return {inventory.variable: tokens, names.ENV_GPU: labels}


def _has_plugins() -> bool:
    """Return whether the namespace package `jax_plugins`, in which plugins of JAX are installed, has any module."""
    package = find_spec("jax_plugins")
    return package is not None and any(pkgutil.iter_modules(package.submodule_search_locations))
