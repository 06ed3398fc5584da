"""Import Keras quietly: without start-up messages, and without packages that are not needed.

`tuner.keras_backend` chooses the backend.
"""

import gc
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tuner.keras_backend import choose_backend
from tuner.temporary_files import temporary_file

__all__ = ["choose_backend", "import_keras", "importing_keras"]

_ONLY_FOR_PLOTS_AND_WRAPPERS = ("matplotlib", "sklearn")
_NOT_FOR_TENSORFLOW = ("scipy",)
_NOT_FOR_JAX = ("scipy.optimize",)  # JAX needs other parts of scipy
"""Optional packages that Keras and Keras Tuner import if they are installed, for plots, scikit-learn wrappers and
the Gaussian process of Bayesian optimization. Importing them takes 30 % of the processor time of a worker's start."""


@contextmanager
def importing_keras(whole: bool = False) -> Iterator[None]:
    """Suppress what TensorFlow's libraries write to standard error while they load, unless loading fails.

    Unless `whole` is true, Keras and Keras Tuner are imported as if the optional packages above were not installed.
    A search space can still import these packages later. No garbage is collected meanwhile.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # suppresses TensorFlow's later messages
    logging.getLogger("jax._src.xla_bridge").addFilter(_without_traceback)
    sys.stderr.flush()
    real = os.dup(2)
    with temporary_file() as captured, _hidden(() if whole else _unused()), _without_garbage_collection():
        os.dup2(captured.fileno(), 2)
        try:
            yield
        except BaseException:
            captured.seek(0)
            os.write(real, captured.read())
            raise
        finally:
            os.dup2(real, 2)
            os.close(real)


def _without_traceback(record: logging.LogRecord) -> bool:
    """Replace JAX's traceback of a plugin that finds no driver by one sentence. JAX then computes on the CPU."""
    if record.exc_info and str(record.msg).startswith("Jax plugin configuration error"):
        record.levelno, record.levelname = logging.WARNING, "WARNING"
        record.msg = (
            "JAX's code for GPUs is installed and cannot be used, so JAX computes on the CPU. Check that the node has "
            "the GPU's driver, and that nvidia-smi works in this container: %s"
        )
        record.args = (str(record.exc_info[1]).partition("\n")[0],)
        record.exc_info = record.exc_text = None
    return True


def import_keras(whole: bool = False) -> None:
    """Import Keras and Keras Tuner without start-up messages and, unless `whole` is true, without unused packages."""
    with importing_keras(whole):
        import keras_tuner  # noqa: F401


def _unused() -> tuple[str, ...]:
    with_tensorflow = os.environ.get("KERAS_BACKEND", "tensorflow") == "tensorflow"
    return _ONLY_FOR_PLOTS_AND_WRAPPERS + (_NOT_FOR_TENSORFLOW if with_tensorflow else _NOT_FOR_JAX)


@contextmanager
def _without_garbage_collection() -> Iterator[None]:
    """Collect no garbage while Keras is imported, and exempt what was imported from later collections.

    An import creates hundreds of thousands of objects that stay. Looking through them again and again takes 15 % of
    the import's time, and afterwards a part of every collection, which Keras starts for each model.
    """
    is_first, was_enabled = "keras" not in sys.modules, gc.isenabled()
    gc.disable()
    try:
        yield
        if is_first:
            gc.freeze()
    finally:
        if was_enabled:
            gc.enable()


@contextmanager
def _hidden(packages: tuple[str, ...]) -> Iterator[None]:
    hidden = [name for name in packages if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # None makes an import fail
    try:
        yield
    finally:
        for name in hidden:
            sys.modules.pop(name, None)
