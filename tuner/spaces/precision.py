"""The precision in which convolutional networks train fastest on this machine."""

from pathlib import Path

import keras

CPU_INFO = Path("/proc/cpuinfo")


def fastest_precision() -> str:
    """Return Keras's dtype policy: mixed_bfloat16 if the hardware multiplies bfloat16 faster than float32."""
    if keras.backend.backend() == "jax":
        return "mixed_bfloat16" if _has_bfloat16_with_jax() else "float32"
    if keras.backend.backend() == "tensorflow":
        return "mixed_bfloat16" if _has_bfloat16_with_tensorflow() else "float32"
    return "float32"


def _has_bfloat16_with_jax() -> bool:
    """Return whether there is an NVIDIA GPU with bfloat16 tensor cores: Ampere or later, compute capability 8.

    XLA for CPUs does not use AMX for convolutions.
    """
    import jax

    device = jax.devices()[0]
    return device.platform == "gpu" and float(getattr(device, "compute_capability", 0)) >= 8


def _has_bfloat16_with_tensorflow() -> bool:
    """Return whether there is a GPU of compute capability 8 or, without a GPU, a CPU with AMX.

    TensorFlow's convolutions use AMX.
    """
    import tensorflow

    gpus = tensorflow.config.list_physical_devices("GPU")
    if gpus:
        details = tensorflow.config.experimental.get_device_details(gpus[0])
        return bool(details.get("compute_capability", (0, 0)) >= (8, 0))
    return CPU_INFO.exists() and " amx_bf16 " in CPU_INFO.read_text()
