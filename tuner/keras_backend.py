"""Chooses the backend of Keras before Keras is imported."""

import json
import os
from importlib.util import find_spec
from pathlib import Path

from tuner.errors import ConfigError

_BACKENDS = {"tensorflow": "TensorFlow", "jax": "JAX"}


def choose_backend() -> str:
    """Return the name of the backend, which is JAX if none is chosen and TensorFlow, the default, is not installed.

    Raises ConfigError if the chosen backend is not supported or not installed.
    """
    chosen, where = os.environ.get("KERAS_BACKEND"), "KERAS_BACKEND"
    if not chosen:
        os.environ.pop("KERAS_BACKEND", None)  # Keras treats an empty value as unset, too
        if not find_spec("tensorflow"):
            if not find_spec("jax"):
                raise ConfigError(
                    "neither TensorFlow nor JAX is installed. Install cifake-tune[tensorflow] or cifake-tune[jax]."
                )
            os.environ["KERAS_BACKEND"] = "jax"
            return "jax"
        chosen, where = _configured() or "tensorflow", f"the backend in {_configuration()}"
    if chosen not in _BACKENDS:
        raise ConfigError(f"{where} must be {' or '.join(_BACKENDS)}, got {chosen!r:.60}. Correct or remove it.")
    if not find_spec(chosen):
        raise ConfigError(
            f"{where} is {chosen}, and {_BACKENDS[chosen]} is not installed. Install cifake-tune[{chosen}], or choose "
            "the other backend."
        )
    return chosen


def _configuration() -> Path:
    """Return the path of Keras's own configuration file."""
    return Path(os.environ.get("KERAS_HOME") or os.path.expanduser("~/.keras")) / "keras.json"


def _configured() -> str | None:
    """Return the backend that Keras's own configuration file chooses. Keras ignores a file that it cannot read."""
    try:
        configuration = json.loads(_configuration().read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    backend = configuration.get("backend") if isinstance(configuration, dict) else None
    return backend if isinstance(backend, str) else None
