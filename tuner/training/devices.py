"""The GPUs of this process: their number, the number requested, and their memory in use."""

import logging
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

import keras

from tuner import limits, names
from tuner.errors import ConfigError
from tuner.printable import printable

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class GpuMemory:
    """Number of bytes of a GPU's memory that this process uses now, and the largest number so far."""

    used: int
    peak: int


def device(environment: Mapping[str, str]) -> str:
    """Return the devices that this process sees: `CPU`, the GPUs that `run` chose (`GPU 0, GPU 2`), or their model."""
    count = gpu_count()
    if not count:
        return "CPU"
    if (chosen := environment.get(names.ENV_GPU)) and count == len(chosen.split(",")):
        return chosen[: limits.DEVICE_CHARACTERS]
    text = printable(_model_of_gpu() or "GPU")
    return (text if count == 1 else f"{count} x {text}")[: limits.DEVICE_CHARACTERS]


def gpu_count() -> int:
    """Return the number of GPUs that Keras finds."""
    try:
        return sum(d.startswith(("gpu", "cuda")) for d in keras.distribution.list_devices())
    except (RuntimeError, ValueError):
        return 0


def _model_of_gpu() -> str:
    """Return the name of the first GPU's model; empty if the backend does not report it."""
    match keras.backend.backend():
        case "tensorflow":
            import tensorflow

            gpus = tensorflow.config.list_physical_devices("GPU")
            details = tensorflow.config.experimental.get_device_details(gpus[0]) if gpus else {}
            return str(details.get("device_name", ""))
        case "jax":
            import jax

            return str(jax.local_devices()[0].device_kind)
        case _:
            return ""


def check(environment: Mapping[str, str]) -> None:
    """Warn if this worker requested GPUs and found none. Raises ConfigError if it must not train without GPUs."""
    number = requested_gpus(environment)
    if not number or gpu_count():
        return
    sentence = f"{number} GPU{'' if number == 1 else 's'} requested, but {keras.backend.backend()} found none"
    if environment.get(names.ENV_REQUIRE_GPU) == "true":
        raise ConfigError(
            f"{sentence}. Use an image with CUDA's libraries and a node with its driver, or set "
            "workers.requireGPU=false to train on the CPU."
        )
    log.warning("%s, so training uses the CPU", sentence)


def requested_gpus(environment: Mapping[str, str]) -> int:
    """Return the number of GPUs that this worker requested. Raises ConfigError if it is not a whole number."""
    text = environment.get(names.ENV_GPUS, "0")
    if not text.isdecimal():
        raise ConfigError(f"{names.ENV_GPUS} must be a whole number, got {text!r}.")
    return int(text)


def memory() -> dict[int, GpuMemory]:
    """Return the memory in use by the number of the GPU. GPUs that do not report it are omitted."""
    match keras.backend.backend():
        case "tensorflow":
            return _memory_in_tensorflow()
        case "jax":
            return _memory_in_jax()
        case _:
            return {}


def _memory_in_tensorflow() -> dict[int, GpuMemory]:
    import tensorflow

    used = {}
    for number, _ in enumerate(tensorflow.config.list_logical_devices("GPU")):
        with suppress(ValueError, tensorflow.errors.OpError):  # not every allocator reports it
            info = tensorflow.config.experimental.get_memory_info(f"GPU:{number}")
            used[number] = GpuMemory(info["current"], info["peak"])
    return used


def _memory_in_jax() -> dict[int, GpuMemory]:
    import jax

    counts = {device.id: device.memory_stats() for device in jax.local_devices() if device.platform == "gpu"}
    return {  # not every device of JAX reports it
        number: GpuMemory(count["bytes_in_use"], count["peak_bytes_in_use"])
        for number, count in counts.items()
        if count and {"bytes_in_use", "peak_bytes_in_use"} <= count.keys()
    }
