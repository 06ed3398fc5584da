"""The workers of `cifake-tune run`: how many there are, which GPUs they share, and how many stay idle at the end."""

from dataclasses import dataclass

from tuner.local.gpu_inventory import GpuInventory
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
        """Return the number of workers, and of the GPUs that they use."""
        total = len(self.gpus.gpus)
        used = min(self.workers, total)
        if not used:
            return counted(self.workers, "worker")
        kinds = f" ({self.gpus.kinds})" if self.gpus.kinds else ""
        of_total = f"{used} of " if used < total else ""
        return f"{counted(self.workers, 'worker')} on {of_total}{counted(total, 'GPU')}{kinds}"
