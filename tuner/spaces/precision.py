"""In which numbers a convolutional network trains fastest on this machine without losing accuracy."""

import keras


def fastest_precision() -> str:
    """Return Keras's dtype policy: mixed_bfloat16 where the hardware multiplies bfloat16 faster than float32."""
    return "mixed_bfloat16" if _gpu_has_bfloat16() else "float32"


def _gpu_has_bfloat16() -> bool:
    """Say whether the first GPU has tensor cores for bfloat16: NVIDIA's since Ampere, compute capability 8."""
    if keras.backend.backend() == "jax":
        import jax

        device = jax.devices()[0]
        return device.platform == "gpu" and float(getattr(device, "compute_capability", 0)) >= 8
    if keras.backend.backend() == "tensorflow":
        import tensorflow

        gpus = tensorflow.config.list_physical_devices("GPU")
        details = tensorflow.config.experimental.get_device_details(gpus[0]) if gpus else {}
        return bool(details.get("compute_capability", (0, 0)) >= (8, 0))
    return False
