"""Whether Keras can load a model again after it was saved, without running code from the file (`safe_mode`).

The evaluator loads models so. A model that it cannot load is useless, so the chief and the workers find out early.
"""

import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tuner.errors import PreemptedError, SpaceError

_CLASS = (
    "@keras.saving.register_keras_serializable() above a class such as "
    "`class Scale(keras.layers.Layer): def call(self, pixels): return pixels / 255`"
)
LAMBDA = (
    "The model contains Python code (a Lambda layer with a function), which is not loaded, for safety. Use "
    "Keras's layers, such as keras.layers.Rescaling(1 / 255) instead of Lambda(lambda pixels: pixels / 255), or write "
    f"a layer of your own: {_CLASS}"
)
PREPROCESS_INPUT = (
    "The model contains preprocess_input in a Lambda layer, which Keras does not load again. Call it in a layer of "
    "your own: @keras.saving.register_keras_serializable() above `class Preprocess(keras.layers.Layer): def call(self, "
    "pixels): return preprocess_input(pixels)`"
)
UNREGISTERED = (
    "Write @keras.saving.register_keras_serializable() above each class and function of your own, in the module that "
    "space.import names or in one that it imports, and return every argument of __init__ from get_config()"
)


def unloadable(error: Exception) -> str:
    """Return why Keras cannot load (or save) a model, and the form that works, from the exception that it raised."""
    message = " ".join(str(error).split())
    if "preprocess_input" in message.split("Full object config")[0]:
        return f"{PREPROCESS_INPUT}."
    if "safe_mode" in message or "unsafe" in message:
        return f"{LAMBDA}."
    # Keras wraps the reason once per level of layers, each time with the whole configuration
    reason = message.rsplit("Exception encountered: ", 1)[-1].partition(" Full object config")[0]
    return f"{UNREGISTERED}. Keras reports: {reason[:300]}"


def saved_configuration(model: Any) -> str:
    """Return the configuration that Keras saves with a model, as JSON; "" if it is no model, which the worker refuses.

    Raises SpaceError if the model has none. The arrays of the model need values, as its learning rate is part of it.
    """
    import keras

    if not isinstance(model, keras.Model):
        return ""
    with _explained(), warnings.catch_warnings(action="ignore"):  # Keras warns of a lambda, which is refused later
        config = keras.saving.serialize_keras_object(model)
        config.pop("compile_config", None)  # the evaluator needs neither loss nor metrics
        return json.dumps(config)


def check_loadable(configuration: str) -> None:
    """Raise SpaceError if Keras could not load a model again from the configuration that it saves."""
    import keras

    with _explained():
        keras.saving.deserialize_keras_object(json.loads(configuration), safe_mode=True)


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except PreemptedError:
        raise
    except Exception as error:
        raise SpaceError(
            f"the model that build() returns cannot be loaded after it is saved. {unloadable(error)}"
        ) from error
