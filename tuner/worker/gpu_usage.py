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

    def read(self) -> dict[str, GpuUsage]:
        """Return the usage by the name of the GPU.

        GPUs of which it is not certain that CUDA selects them are omitted.
        """
        return {_name(gpu): nvidia.usage_of(gpu.part) for gpu in self._visible() if gpu.is_certain}

    def name(self, place: int) -> str:
        """Return the name of the GPU at this place among those that the process sees.

        It is the number of nvidia-smi, such as `1`, or `0 MIG 2` for a slice, so that the processes of a pod agree on
        it. Without the driver it is the place.
        """
        visible = self._visible()
        is_known = place < len(visible) and visible[place].is_certain
        return _name(visible[place]) if is_known else str(place)

    def _visible(self) -> list[Selected]:
        """Return the visible GPUs. The driver remains open for as long as the process runs."""
        if self._selected is None:
            found = nvidia.list_gpus()
            if found.problem or found.lost:
                log.debug("the usage of GPUs is not reported: %s", found.problem or ", ".join(found.lost))
            self._selected = nvidia.visible(found, self._environment)
        return self._selected


def _name(gpu: Selected) -> str:
    return gpu.part.label.removeprefix("GPU ")
