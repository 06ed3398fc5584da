"""The GPUs of this process: how many there are, were asked for, and what of their memory is used."""

import logging
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

import keras

from tuner import names
from tuner.errors import ConfigError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class GpuMemory:
    """Bytes of one GPU's memory that this process uses, and used at the most."""

    used: int
    peak: int


def device() -> str:
    """Return what the models are trained on, as `2 x GPU` or `CPU`."""
    return f"{count} x GPU" if (count := found()) else "CPU"


def found() -> int:
    """Return how many GPUs Keras finds."""
    try:
        return sum(d.startswith(("gpu", "cuda")) for d in keras.distribution.list_devices())
    except (RuntimeError, ValueError):
        return 0


def check(environment: Mapping[str, str]) -> None:
    """Say so where this worker asked for GPUs and finds none. Raises ConfigError where it is not to go on without."""
    number = asked(environment)
    if not number or found():
        return
    sentence = f"{number} GPU{'' if number == 1 else 's'} asked for, and {keras.backend.backend()} finds none"
    if environment.get(names.ENV_REQUIRE_GPU) == "true":
        raise ConfigError(
            f"{sentence}. Use an image with CUDA's libraries and a node with its driver, or set "
            "workers.requireGPU=false to train on the CPU."
        )
    log.warning("%s: training on the CPU", sentence)


def asked(environment: Mapping[str, str]) -> int:
    """Return how many GPUs this worker asked for. Raises ConfigError."""
    text = environment.get(names.ENV_GPUS, "0")
    if not text.isdecimal():
        raise ConfigError(f"{names.ENV_GPUS} must be a whole number, not {text!r}.")
    return int(text)


def memory() -> dict[int, GpuMemory]:
    """Return what is used of each GPU's memory, by its number; of one that does not say so, nothing."""
    match keras.backend.backend():
        case "tensorflow":
            return _tensorflows()
        case "jax":
            return _jaxs()
        case _:
            return {}


def _tensorflows() -> dict[int, GpuMemory]:
    import tensorflow

    used = {}
    for number, _ in enumerate(tensorflow.config.list_logical_devices("GPU")):
        with suppress(ValueError, tensorflow.errors.OpError):  # not every allocator counts
            info = tensorflow.config.experimental.get_memory_info(f"GPU:{number}")
            used[number] = GpuMemory(info["current"], info["peak"])
    return used


def _jaxs() -> dict[int, GpuMemory]:
    import jax

    counts = {device.id: device.memory_stats() for device in jax.local_devices() if device.platform == "gpu"}
    return {  # nor does every one of JAX's
        number: GpuMemory(count["bytes_in_use"], count["peak_bytes_in_use"])
        for number, count in counts.items()
        if count and {"bytes_in_use", "peak_bytes_in_use"} <= count.keys()
    }
