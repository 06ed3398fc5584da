"""How busy a worker's GPUs are, as NVIDIA's driver reports it."""

import logging
from collections.abc import Mapping

from tuner import nvidia
from tuner.nvidia import GpuUsage, Selected

log = logging.getLogger(__name__)


class GpuUsageReader:
    """Reads the usage of the GPUs that this process sees. There are none without the driver."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._selected: list[Selected] | None = None

    def read(self) -> dict[int, GpuUsage]:
        """Return the usage by the number of the GPU, in the order of CUDA_VISIBLE_DEVICES.

        GPUs of which it is not certain that CUDA selects them are omitted. Without the variable, they have the numbers
        of nvidia-smi.
        """
        if self._selected is None:
            self._selected = self._open()
        return {
            number: nvidia.usage_of(selected.part)
            for number, selected in enumerate(self._selected)
            if selected.is_certain
        }

    def _open(self) -> list[Selected]:
        """Return the visible GPUs. The driver remains open for as long as the process runs."""
        found = nvidia.list_gpus()
        if found.problem or found.lost:
            log.debug("the usage of GPUs is not reported: %s", found.problem or ", ".join(found.lost))
        return nvidia.visible(found, self._environment)
