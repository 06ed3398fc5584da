"""The entry points of Keras Tuner that are replaced while a script runs.

| entry point | replaced because |
| --- | --- |
| `Oracle.__init__` | a seed that the script does not give would be random, and differ between the processes |
| `BaseTuner.__init__` | it would delete or reload the project in `directory`, and connect workers to a chief |
| `BaseTuner.search` | it would serve trials as Keras Tuner's chief does, or run them |
| `BaseTuner.on_trial_end` | it would report the end of a trial, and write files |
| `Tuner._deepcopy_callbacks` | one callback that cannot be copied would end the search |
| `Tuner.load_model` | it would read the model from `directory` |
| `tuner_utils.SaveBestEpoch` | it is Keras Tuner's checkpoint callback, and ours takes its place |
| `distribute.utils.has_chief_oracle` | the variables `KERASTUNER_…` are those of our own chief |

Keras Tuner is pinned. A test fails if the code of one of these, or of a method that calls one of them, changes.
"""

import copy
import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Protocol

from keras import callbacks as keras_callbacks
from keras_tuner.src.distribute import utils as distribute
from keras_tuner.src.engine import tuner_utils
from keras_tuner.src.engine.base_tuner import BaseTuner
from keras_tuner.src.engine.oracle import Oracle
from keras_tuner.src.engine.tuner import Tuner

log = logging.getLogger(__name__)

REPLACED: tuple[tuple[Any, str], ...] = (
    (Oracle, "__init__"),
    (BaseTuner, "__init__"),
    (BaseTuner, "search"),
    (BaseTuner, "on_trial_end"),
    (Tuner, "_deepcopy_callbacks"),
    (Tuner, "load_model"),
    (tuner_utils, "SaveBestEpoch"),
    (distribute, "has_chief_oracle"),
)
"""The owner and the name of each entry point."""


class Replacements(Protocol):
    """What happens in a process instead of Keras Tuner's own work."""

    def constructs(self, tuner: BaseTuner, overwrite: bool) -> str:
        """Called before a Tuner is initialized. Return its folder, which is empty."""

    def search(self, tuner: BaseTuner, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Called instead of `search`."""

    def load_model(self, tuner: Tuner, trial: Any) -> Any:
        """Called instead of `load_model`."""

    def checkpoint_callback(self) -> keras_callbacks.Callback:
        """Return the callback that takes the place of `SaveBestEpoch` in the current trial."""


@contextmanager
def replaced(replacements: Replacements) -> Iterator[None]:
    """Replace the entry points for the duration of the block."""
    with ExitStack() as stack:
        for (owner, name), replacement in zip(REPLACED, _replacing(replacements), strict=True):
            stack.enter_context(set_for_now(owner, name, replacement))
        yield


@contextmanager
def set_for_now(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Set an attribute for the duration of the block."""
    original = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, original)


def given_seed(oracle: Oracle) -> int | None:
    """Return the seed that the script gave to its oracle; None if it gave none."""
    seed: int | None = vars(oracle).get("_given_seed")
    return seed


def _replacing(replacements: Replacements) -> list[Callable[..., Any]]:
    """Return what replaces each of `REPLACED`, in the same order."""
    init_oracle, init_tuner = Oracle.__init__, BaseTuner.__init__

    def oracle_init(self: Oracle, *args: Any, seed: int | None = None, **kwargs: Any) -> None:
        self._given_seed = seed
        init_oracle(self, *args, seed=seed, **kwargs)

    def tuner_init(
        self: BaseTuner,
        oracle: Oracle,
        hypermodel: Any = None,
        directory: Any = None,
        project_name: str | None = None,
        overwrite: bool = False,
        **kwargs: Any,
    ) -> None:
        folder = replacements.constructs(self, overwrite)
        init_tuner(self, oracle, hypermodel, directory=folder, project_name=project_name, overwrite=False, **kwargs)

    def search(self: BaseTuner, *args: Any, **kwargs: Any) -> None:
        replacements.search(self, args, kwargs)

    def load_model(self: Tuner, trial: Any) -> Any:
        return replacements.load_model(self, trial)

    return [
        oracle_init,
        tuner_init,
        search,
        lambda self, trial: None,
        lambda self, callbacks: [_copied(callback) for callback in callbacks],
        load_model,
        lambda objective, filepath: replacements.checkpoint_callback(),
        lambda: False,
    ]


def _copied(callback: keras_callbacks.Callback) -> keras_callbacks.Callback:
    """Return a copy for one execution of a trial, as in Keras Tuner, or the callback itself if it cannot be copied."""
    try:
        return copy.deepcopy(callback)
    except Exception as error:
        log.warning(
            "the callback %s cannot be copied (%s), so all trials of this process use the same one, with its state",
            type(callback).__name__,
            str(error) or type(error).__name__,
        )
        return callback
