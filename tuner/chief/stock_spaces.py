"""The spaces of Keras Tuner's own workers, compared with the chief's.

Such a worker builds models of its own space with the values that the chief suggests. Values of hyperparameters that
only the chief knows are ignored, and those that only the worker knows keep their defaults in every trial. The journal
would then list values that no model used.
"""

from collections.abc import Collection, Iterable, Iterator
from typing import Any

from tuner import names
from tuner.printable import printable

LISTED = 5
"""Maximum number of names in a message."""
NAME_CHARACTERS = 60


class StockSpaces:
    """Compares the spaces of Keras Tuner's own workers with the hyperparameters that the chief knows."""

    def __init__(self, known: Iterable[str]) -> None:
        self._known = tuple(dict.fromkeys(known))

    def refusal(self, message: Any) -> str:
        """Return why a worker is refused because of a `HyperParameters` message, and what to do; empty if it is not."""
        mentioned = dict.fromkeys(name for name in _names(message.space) if names.is_hyperparameter(name))
        unknown = [name for name in mentioned if name not in self._known]
        if not unknown:
            return ""
        return (
            f"the worker's space has hyperparameters that the chief's space does not have: {_listed(unknown)}. The "
            f"chief searches {_listed(self._known)}. Start the chief with the worker's space (space.import), or "
            "declare these hyperparameters in the space's declare_hyperparameters(hp) if only some builds name them."
        )


def _names(space: Any) -> Iterator[str]:
    for kind in (space.fixed_space, space.float_space, space.int_space, space.choice_space, space.boolean_space):
        for hyperparameter in kind:
            yield hyperparameter.name


def _listed(hyperparameters: Collection[str]) -> str:
    shown = [printable(name)[:NAME_CHARACTERS] for name in list(hyperparameters)[:LISTED]]
    more = len(hyperparameters) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "") if shown else "none"
