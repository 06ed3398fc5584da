"""Recognises the exceptions of Python, Keras, TensorFlow and XLA that mean that memory was exhausted."""

import errno

_TEXTS = (
    "RESOURCE_EXHAUSTED",  # XLA
    "OOM when allocating tensor",  # TensorFlow; Keras may wrap it in a RuntimeError
    "Unable to allocate ",  # NumPy; Keras wraps it in a ValueError if it loads weights
)


def out_of_memory(error: BaseException) -> bool:
    """Return whether an exception, or one from which it was raised, means that memory was exhausted."""
    if (
        isinstance(error, MemoryError)
        or (isinstance(error, OSError) and error.errno == errno.ENOMEM)
        or type(error).__name__ == "ResourceExhaustedError"  # TensorFlow
        or any(text in str(error) for text in _TEXTS)
    ):
        return True
    return error.__cause__ is not None and out_of_memory(error.__cause__)
