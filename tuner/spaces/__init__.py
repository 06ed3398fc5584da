"""The search spaces: Keras Tuner HyperModels, built-in or a user's own."""

import importlib
import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from tuner.config.settings import Space, Value, Values
from tuner.errors import PreemptedError, SpaceError
from tuner.spaces.user_code import import_from
from tuner.spaces.values import check_values

if TYPE_CHECKING:
    import keras_tuner

BUILT_IN = {"seed": "tuner.spaces.seed:SeedSpace", "deep": "tuner.spaces.deep:DeepSpace"}


def load_space(space: Space, image_shape: tuple[int, int, int], classes: int) -> "keras_tuner.HyperModel":
    """Return the HyperModel that the settings name.

    Its class is called with `image_shape` (height, width, channels) and `classes` (number of classes), if its
    `__init__` accepts them. Raises SpaceError if the class cannot be found or instantiated.
    """
    import keras_tuner

    folder = None
    if space.import_ is None:
        if space.name not in BUILT_IN:
            raise SpaceError(f"space.name must be one of {', '.join(BUILT_IN)}, got {space.name!r}.")
        path = BUILT_IN[space.name]
    else:
        path = space.import_
        folder = Path(space.code or ".").resolve()
        if not folder.is_dir():
            raise SpaceError(f"space.code: {folder} is not a folder. Set it to the folder that contains your code.")
    module_name, _, class_name = path.partition(":")
    try:
        module = import_from(folder, module_name) if folder else importlib.import_module(module_name)
    except PreemptedError:  # raised by a signal's handler, which runs during the user's code
        raise
    except Exception as error:
        raise SpaceError(
            f"space.import: {module_name} cannot be imported ({type(error).__name__}: {error}). "
            "Fix the module, or set space.code to the folder that contains it."
        ) from error
    space_class = getattr(module, class_name, None)
    if not (isinstance(space_class, type) and issubclass(space_class, keras_tuner.HyperModel)):
        raise SpaceError(
            f"space.import: {module_name} has no class {class_name} that inherits from keras_tuner.HyperModel. "
            "Name such a class as module:Class."
        )
    known = {"image_shape": image_shape, "classes": classes}
    accepted = inspect.signature(space_class).parameters
    try:
        return space_class(**{name: value for name, value in known.items() if name in accepted})
    except PreemptedError:
        raise
    except Exception as error:
        raise SpaceError(
            f"space.import: {path} cannot be instantiated ({type(error).__name__}: {error}). "
            "Fix its __init__, which may only require the arguments image_shape and classes."
        ) from error


def narrow(whole: "keras_tuner.HyperParameters", values: Mapping[str, Value | Values]) -> "keras_tuner.HyperParameters":
    """Return the hyperparameters, with those in `values` (the setting space.values) fixed or limited to a list.

    Raises SpaceError if the space has no such hyperparameter, or if a value has another type or is out of range.
    """
    import keras_tuner

    if unknown := set(values) - {hyperparameter.name for hyperparameter in whole.space}:
        known = ", ".join(dict.fromkeys(hyperparameter.name for hyperparameter in whole.space))
        raise SpaceError(f"space.values: the space has no hyperparameter {min(unknown)!r}. Use {known}.")
    check_values(whole.space, values)
    narrowed = keras_tuner.HyperParameters()
    kinds = keras_tuner.engine.hyperparameters
    for hyperparameter in whole.space:
        name, conditions = hyperparameter.name, hyperparameter.conditions
        if name in values:
            chosen = values[name]
            hyperparameter = (  # noqa: PLW2901
                kinds.Choice(name, chosen, ordered=False, conditions=conditions)
                if isinstance(chosen, list)
                else kinds.Fixed(name, chosen, conditions=conditions)
            )
        narrowed.merge([hyperparameter])
    return narrowed
