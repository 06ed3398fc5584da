"""How many worker processes share a GPU with `perGPU: auto`: as many as its memory allows, by measurement."""

import time
from collections.abc import Callable, Mapping

from tuner import names
from tuner.address import Address
from tuner.local.gpu_inventory import GpuMemoryUse, memory_of
from tuner.monitoring.merged import pages, value
from tuner.monitoring.metric_names import Metric

MOST = 8
"""Largest number of processes on one GPU. More than four small trials at once gain little (docs/benchmarks.md)."""
FULL = 0.9
"""Fraction of the GPU's memory that all processes together may use."""
LOOK_S = 10.0
"""Seconds between two measurements."""


class GpuRoom:
    """Decides how many processes run, from the memory in use and from errors that it was not sufficient.

    Args:
        token: The GPU, as CUDA_VISIBLE_DEVICES names it.
        most: Largest number of processes.
        measure: Returns the memory of the GPU; None if it cannot be measured.
        clock: Returns a monotonic time in seconds.
    """

    def __init__(
        self,
        token: str,
        most: int = MOST,
        measure: Callable[[str], GpuMemoryUse | None] = memory_of,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.most = most
        self._token, self._measure, self._clock = token, measure, clock
        self._looked_at = clock()
        self._errors: dict[str, float] = {}
        """Number of out-of-memory errors of each process so far."""

    def ran_out(self, running: int) -> None:
        """Register that memory was not sufficient for this number of processes."""
        self.most = max(1, min(self.most, running - 1))

    def wanted(self, running: int, addresses: Mapping[str, Address]) -> int:
        """Return the number of processes that should run now, which differs by one at most from `running`."""
        if self._clock() - self._looked_at < LOOK_S:
            return running
        self._looked_at = self._clock()
        texts = {n: answer[1] for n, answer in pages(dict(addresses), names.HTTP_METRICS).items() if answer}
        return self.decide(running, texts)

    def decide(self, running: int, texts: Mapping[str, str]) -> int:
        """Return the number of processes, from the metrics of those that answer."""
        errors = {process: value(text, Metric.WORKER_OUT_OF_MEMORY) for process, text in texts.items()}
        if any(count > self._errors.get(process, 0) for process, count in errors.items()):
            self.ran_out(running)
        self._errors |= errors
        if running > self.most:
            return running - 1
        have_trained = [value(text, Metric.WORKER_EPOCHS) >= 1 for text in texts.values()]
        if running >= self.most or sum(have_trained) < running:
            return running  # a process uses all its memory only after its first epoch
        memory = self._measure(self._token)
        if memory is None or memory.used / running * (running + 1) > FULL * memory.total:
            return running
        return running + 1
