"""How Keras is imported by the processes that train: for which backend, quietly, and without what they do not use."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from tuner.errors import ConfigError
from tuner.temporary_files import temporary_file

_ONLY_FOR_PLOTS_AND_WRAPPERS = ("matplotlib", "sklearn")
_NOT_FOR_TENSORFLOW = ("scipy",)  # JAX stands on it
"""Keras and Keras Tuner import these where they are installed, and do without where they are not: for its galleries,
its scikit-learn wrappers, and the Gaussian process. They are 30 % of the processor time in which a worker starts."""


def choose_backend() -> None:
    """Let Keras use JAX where nobody chose and TensorFlow, its default, is not installed."""
    if "KERAS_BACKEND" in os.environ or find_spec("tensorflow"):
        return
    if not find_spec("jax"):
        raise ConfigError("neither TensorFlow nor JAX is installed; install cifake-tune[tensorflow] or [jax].")
    os.environ["KERAS_BACKEND"] = "jax"


@contextmanager
def importing_keras(whole: bool = False) -> Iterator[None]:
    """Hold back what TensorFlow's libraries write to standard error while they load, unless loading fails.

    Where not the `whole` of Keras Tuner is needed, it is imported as if the packages above were not installed; a space
    that imports them later gets them.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # the same for what they write later
    sys.stderr.flush()
    real = os.dup(2)
    with temporary_file() as held, _hidden(() if whole else _unused()):
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            held.seek(0)
            os.write(real, held.read())
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
