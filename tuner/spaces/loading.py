"""Loads the search space that the settings name: a built-in one, or a user's own class, object or function."""

import importlib
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from tuner.config.space_import import import_advice
from tuner.config.space_settings import Space
from tuner.errors import PreemptedError, SpaceError
from tuner.spaces.arguments import DataFacts, filled, parameters_of
from tuner.spaces.missing_packages import how_to_install, missing_module
from tuner.spaces.own_methods import has_own_data
from tuner.spaces.user_code import import_from, name_in_space

if TYPE_CHECKING:
    import keras_tuner

BUILT_IN = {"seed": "tuner.spaces.seed:SeedSpace", "deep": "tuner.spaces.deep:DeepSpace"}


def is_built_in(space: "keras_tuner.HyperModel") -> bool:
    """Return whether the space is a built-in one. A user's subclass of one is not."""
    return f"{type(space).__module__}:{type(space).__qualname__}" in BUILT_IN.values()


def load_space(space: Space, image_shape: tuple[int, int, int], classes: int) -> "keras_tuner.HyperModel":
    """Return the HyperModel that the settings name, for packed images.

    A class is called with the arguments of its `__init__` that `tuner.spaces.arguments` can fill. A function
    `build_model(hp)` becomes the `build` of a HyperModel; its other arguments are filled likewise. An object that is a
    HyperModel is returned as it is.

    Args:
        space: The settings.
        image_shape: Height, width and channels of the images.
        classes: Number of classes.

    Raises:
        SpaceError: The space cannot be found or instantiated, or brings its own data.
    """
    loaded = _load(space, DataFacts(image_shape, classes))
    if has_own_data(loaded):
        raise SpaceError(
            f"{space.import_} has a method data, but data.own is false, so it would be trained on images. Set data.own "
            "to true to train it on its own data, or rename the method."
        )
    return loaded


def load_space_for(space: Space, facts: DataFacts | None) -> "keras_tuner.HyperModel":
    """Return the HyperModel for a data set; `facts` is None if the space brings its own data. Raises SpaceError."""
    return load_own_space(space) if facts is None else load_space(space, facts.image_shape, facts.classes)


def load_own_space(space: Space) -> "keras_tuner.HyperModel":
    """Return the HyperModel that the settings name, which brings its own data.

    Raises SpaceError if it cannot be found or instantiated, or has no method `data`.
    """
    loaded = _load(space, None)
    if not has_own_data(loaded):
        raise SpaceError(
            f"data.own is true, but {space.import_} has no method data. Add data(self, part), which returns the data "
            "for part 'train', 'validation' or 'test', or set data.own to false to train on images."
        )
    return loaded


def _load(space: Space, facts: DataFacts | None) -> "keras_tuner.HyperModel":
    folder = None
    if space.script is not None:
        raise SpaceError(
            f"the models of this study are built by the script {space.script}, which only `run`, `chief`, `worker` and "
            "`evaluate` execute. Use the models in the script itself, after tuner.search()."
        )
    if space.import_ is None:
        if space.name not in BUILT_IN:
            raise SpaceError(f"space.name must be one of {', '.join(BUILT_IN)}, got {space.name!r}.")
        path = BUILT_IN[space.name]
    else:
        path = space.import_
        folder = Path(space.code or ".").resolve()
        if not folder.is_dir():
            raise SpaceError(f"space.code: {folder} is not a folder. Set it to the folder that contains your code.")
    module_name, _, name = path.partition(":")
    module = _imported(path, folder)
    return _space(path, _found(module, module_name, name), facts)


def _imported(path: str, folder: Path | None) -> ModuleType:
    module_name = path.partition(":")[0]
    try:
        return import_from(folder, module_name) if folder else importlib.import_module(module_name)
    except PreemptedError:  # raised by a signal's handler, which runs during the user's code
        raise
    except Exception as error:
        name = name_in_space(error.name or "") if isinstance(error, ModuleNotFoundError) else ""
        if name and f"{module_name}.".startswith(f"{name}."):
            raise SpaceError(
                f"space.import: the module {module_name} was not found in {folder}. {_advice(path, folder)}Set "
                "space.code to the folder that contains it."
            ) from error
        if missing := missing_module(error):
            raise SpaceError(
                f"space.import: {module_name} cannot be imported because it needs {missing}, which is not installed. "
                f"{how_to_install(missing)}"
            ) from error
        from tuner.spaces.error_cause import cause_of

        raise SpaceError(
            f"space.import: {module_name} cannot be imported ({cause_of(error)}). Fix the module."
        ) from error


def _advice(path: str, folder: Path | None) -> str:
    """Return which space of the folder is meant, if the module of `path` is not one; "" if that is not known."""
    advice = import_advice(path, folder) if folder else ""
    return f"{advice} " if advice.endswith("?") else ""


def _found(module: ModuleType, module_name: str, name: str) -> Any:
    import keras_tuner

    found = getattr(module, name, None)
    is_class = isinstance(found, type)
    if isinstance(found, keras_tuner.HyperModel) or (callable(found) and not is_class):
        return found
    if isinstance(found, type) and issubclass(found, keras_tuner.HyperModel):
        return found
    problem = (
        f"the class {name} of {module_name} does not inherit from keras_tuner.HyperModel"
        if is_class
        else f"{module_name} has no class or function {name}"
    )
    candidates = _candidates(module)
    known = f" {module_name} has {', '.join(candidates)}." if candidates else ""
    raise SpaceError(
        f"space.import: {problem}.{known} Name a class that inherits from keras_tuner.HyperModel, or a function that "
        "takes hp and returns a compiled model, as module:name."
    )


def _candidates(module: ModuleType) -> list[str]:
    """Return the names in a module that can be a space, apart from imported classes."""
    import keras_tuner

    return [
        name
        for name, value in vars(module).items()
        if getattr(value, "__module__", None) == module.__name__
        and (
            (isinstance(value, type) and issubclass(value, keras_tuner.HyperModel))
            or (
                callable(value) and not isinstance(value, type) and [p.name for p in parameters_of(value)[:1]] == ["hp"]
            )
        )
    ]


def _space(path: str, found: Any, facts: DataFacts | None) -> "keras_tuner.HyperModel":
    import keras_tuner

    from tuner.spaces.error_cause import cause_of
    from tuner.spaces.function import FunctionSpace

    if isinstance(found, keras_tuner.HyperModel):
        return found
    parameters = parameters_of(found)
    if not isinstance(found, type):
        positional = [p for p in parameters if p.kind not in (p.KEYWORD_ONLY, p.VAR_KEYWORD)]
        if not positional:
            raise SpaceError(f"space.import: {path} must accept the hyperparameters, as in def build_model(hp).")
        parameters = [parameter for parameter in parameters if parameter is not positional[0]]
    try:
        arguments = filled(parameters, facts)
    except ValueError as error:
        what = f"__init__ of {path}" if isinstance(found, type) else path
        raise SpaceError(f"space.import: {what} cannot be called: {error}.") from None
    if not isinstance(found, type):
        return FunctionSpace(found, arguments)
    try:
        space: keras_tuner.HyperModel = found(**arguments)
    except PreemptedError:
        raise
    except Exception as error:
        raise SpaceError(
            f"space.import: {path} cannot be instantiated ({cause_of(error)}). Fix its __init__."
        ) from error
    return space
