"""The search spaces: Keras Tuner HyperModels, built-in or a user's own."""

import importlib
import inspect
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from tuner.config import Space, Value, Values
from tuner.errors import PreemptedError, SpaceError

if TYPE_CHECKING:
    import keras_tuner

BUILT_IN = {"seed": "tuner.spaces.seed:SeedSpace", "deep": "tuner.spaces.deep:DeepSpace"}


def load_space(space: Space, image_shape: tuple[int, int, int], classes: int) -> "keras_tuner.HyperModel":
    """Return the HyperModel that the settings name.

    Its class is called with those of `image_shape` (height, width, channels) and `classes` (their number)
    that its `__init__` has. Raises SpaceError where it cannot be found or made.
    """
    import keras_tuner

    if space.import_ is None:
        if space.name not in BUILT_IN:
            raise SpaceError(f"space.name: there is no built-in space {space.name!r}; there is {', '.join(BUILT_IN)}.")
        path = BUILT_IN[space.name]
    else:
        path = space.import_
        folder = Path(space.code or ".").resolve()
        if not folder.is_dir():
            raise SpaceError(f"space.code: {folder} is not a folder.")
        if str(folder) not in sys.path:
            sys.path.insert(0, str(folder))
    module_name, _, class_name = path.partition(":")
    try:
        module = importlib.import_module(module_name)
    except PreemptedError:  # by a signal, whose handler runs in the midst of the user's code
        raise
    except Exception as error:
        raise SpaceError(
            f"space.import: {module_name} cannot be imported ({type(error).__name__}: {error}); "
            "is space.code the folder that it lies in?"
        ) from error
    found = getattr(module, class_name, None)
    if not (isinstance(found, type) and issubclass(found, keras_tuner.HyperModel)):
        raise SpaceError(f"space.import: {module_name} has no class {class_name} that is a keras_tuner.HyperModel.")
    known = {"image_shape": image_shape, "classes": classes}
    accepted = inspect.signature(found).parameters
    try:
        return found(**{name: value for name, value in known.items() if name in accepted})
    except PreemptedError:
        raise
    except Exception as error:
        raise SpaceError(f"space.import: {path} cannot be made ({type(error).__name__}: {error}).") from error


def narrow(found: "keras_tuner.HyperParameters", values: Mapping[str, Value | Values]) -> "keras_tuner.HyperParameters":
    """Return the hyperparameters with those of `values` (the setting space.values) fixed, or chosen from a list.

    Raises SpaceError where the space has no such hyperparameter.
    """
    import keras_tuner

    if unknown := set(values) - {hyperparameter.name for hyperparameter in found.space}:
        known = ", ".join(dict.fromkeys(hyperparameter.name for hyperparameter in found.space))
        raise SpaceError(f"space.values: the space has no hyperparameter {min(unknown)!r}; it has {known}.")
    narrowed = keras_tuner.HyperParameters()
    kinds = keras_tuner.engine.hyperparameters
    for hyperparameter in found.space:
        name, conditions = hyperparameter.name, hyperparameter.conditions
        if name in values:
            given = values[name]
            hyperparameter = (  # noqa: PLW2901
                kinds.Choice(name, given, ordered=False, conditions=conditions)
                if isinstance(given, list)
                else kinds.Fixed(name, given, conditions=conditions)
            )
        narrowed.merge([hyperparameter])
    return narrowed


def explore(
    space: "keras_tuner.HyperModel", image_shape: tuple[int, int, int] = (32, 32, 3)
) -> "keras_tuner.HyperParameters":
    """Return all hyperparameters that the space has, also those under conditions and those of its `fit`.

    The model is built once for each condition that no build has met yet, as Keras Tuner's own chief does.
    Raises SpaceError where the model cannot be built.
    """
    import keras
    import keras_tuner

    found = keras_tuner.HyperParameters()
    never: list[list[keras_tuner.engine.conditions.Condition]] = []
    once: list[list[keras_tuner.engine.conditions.Condition]] = []
    values: dict[str, object] = {}
    while True:
        hp = found.copy()
        hp.values.update(values)
        hp.ensure_active_values()
        try:
            space.build(hp)
        except PreemptedError:
            raise
        except Exception as error:
            raise SpaceError(
                f"the space's build() fails with {hp.values} ({type(error).__name__}: {error})."
            ) from error
        finally:
            keras.backend.clear_session()
        _explore_fit(space, hp, image_shape)
        found.merge(hp)
        once += [scope for scope in hp.active_scopes if scope not in once]
        never = [scope for scope in never if scope not in once]
        never += [scope for scope in hp.inactive_scopes if scope not in once and scope not in never]
        if not never:
            return found
        untried = {condition.name: condition.values[0] for condition in never[0]}
        if untried == values:
            raise SpaceError(f"the space has a condition that no build meets: {untried}.")
        values = untried


class _UsedError(BaseException):
    """A `fit` of the user's own has called its model; no `except Exception` of its may keep this."""


class _NoModel:
    """Stands for the model and all that it has, and ends whatever calls one of them."""

    def __getattr__(self, name: str) -> "_NoModel":
        return self

    def __call__(self, *args: object, **kwargs: object) -> NoReturn:
        raise _UsedError


def _explore_fit(
    space: "keras_tuner.HyperModel", hp: "keras_tuner.HyperParameters", image_shape: tuple[int, int, int]
) -> None:
    """Run a `fit` of the user's own until it calls its model: by then it has named its hyperparameters.

    Keras Tuner learns them from the first trial instead, so its search depends on which trial ends first.
    """
    import keras_tuner
    import numpy as np

    if type(space).fit is keras_tuner.HyperModel.fit:
        return
    x, y = np.zeros((1, *image_shape), np.uint8), np.zeros(1, np.uint8)
    try:
        space.fit(
            hp, _NoModel(), x, y, validation_data=(x, y), epochs=1, initial_epoch=0, callbacks=[], verbose=0
        )  # fmt: skip
    except (_UsedError, Exception) as error:  # what is wrong with it, the trials will say
        if isinstance(error, PreemptedError):
            raise
