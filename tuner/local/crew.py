"""The workers of `cifake-tune run`: how many there are, which GPUs they share, and how many stay idle at the end."""

from dataclasses import dataclass

from tuner.local.gpu_inventory import GpuInventory
from tuner.local.gpus import gpus_of
from tuner.report.text import counted


@dataclass(frozen=True)
class Crew:
    """The workers that `run` starts."""

    workers: int
    """Number of worker processes."""
    gpus: GpuInventory
    """GPUs that the workers share, and of which the evaluator gets one."""
    spare: int
    """Number of idle workers that stay while the last trials are trained."""

    def describe(self) -> str:
        """Return the number of workers, and of the GPUs that they use, such as `1 worker on 4 GPUs (NVIDIA H200)`."""
        total = len(self.gpus.gpus)
        if not total:
            return counted(self.workers, "worker")
        used = len({gpu for index in range(self.workers) for gpu in gpus_of(self.gpus, index, self.workers)})
        kinds = f" ({self.gpus.kinds})" if self.gpus.kinds else ""
        of_total = f"{used} of " if used < total else ""
        return f"{counted(self.workers, 'worker')} on {of_total}{counted(total, 'GPU')}{kinds}"
