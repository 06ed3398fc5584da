"""Importing Keras in the processes that train: the backend, quietly, and without unused packages."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from tuner.errors import ConfigError
from tuner.temporary_files import temporary_file

_ONLY_FOR_PLOTS_AND_WRAPPERS = ("matplotlib", "sklearn")
_NOT_FOR_TENSORFLOW = ("scipy",)  # JAX needs it
"""Packages that Keras and Keras Tuner import only if they are installed: for plots, scikit-learn wrappers and the
Gaussian process. They take 30 % of the processor time of a worker's start."""


def choose_backend() -> None:
    """Choose JAX if `KERAS_BACKEND` is not set and TensorFlow, the default, is not installed."""
    if "KERAS_BACKEND" in os.environ or find_spec("tensorflow"):
        return
    if not find_spec("jax"):
        raise ConfigError("neither TensorFlow nor JAX is installed; install cifake-tune[tensorflow] or [jax].")
    os.environ["KERAS_BACKEND"] = "jax"


@contextmanager
def importing_keras(whole: bool = False) -> Iterator[None]:
    """Suppress what TensorFlow's libraries write to standard error while they load, unless loading fails.

    Unless the `whole` of Keras Tuner is needed, it is imported as if the packages above were not installed. A space can
    still import them later.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # suppresses what they write later
    sys.stderr.flush()
    real = os.dup(2)
    with temporary_file() as captured, _hidden(() if whole else _unused()):
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


def import_keras() -> None:
    """Import Keras, quietly."""
    with importing_keras():
        import keras  # noqa: F401


def _unused() -> tuple[str, ...]:
    with_tensorflow = os.environ.get("KERAS_BACKEND", "tensorflow") == "tensorflow"
    return _ONLY_FOR_PLOTS_AND_WRAPPERS + (_NOT_FOR_TENSORFLOW if with_tensorflow else ())


@contextmanager
def _hidden(packages: tuple[str, ...]) -> Iterator[None]:
    hidden = [name for name in packages if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # None: "there is no such module"
    try:
        yield
    finally:
        for name in hidden:
            sys.modules.pop(name, None)
