"""Rejects configurations whose model violates search.constraints, before they become trials."""

import logging
from collections.abc import Callable, Mapping, Sequence

from tuner.config.constraint_settings import Constraints
from tuner.errors import SpaceError
from tuner.study.records import Value

log = logging.getLogger(__name__)

Count = Callable[[Mapping[str, Value]], int | None]
"""Returns the number of parameters of a configuration's model; None if it is unknown."""


def rejection(
    constraints: Constraints, count: Count, default_parameters: int | None, first: Sequence[Mapping[str, Value]]
) -> Callable[[Mapping[str, Value]], bool] | None:
    """Return a function that returns whether a configuration is rejected; None if there is no constraint.

    A configuration whose model cannot be built is not rejected: its trial reports the error.

    Args:
        constraints: The settings.
        count: Counts the parameters of a configuration's model.
        default_parameters: Number of parameters with the default hyperparameters; None if it is unknown.
        first: The configurations of search.first.

    Raises:
        SpaceError: The parameters cannot be counted, or search.first names a model that is too large.
    """
    limit = constraints.parameters
    if limit is None:
        return None
    if default_parameters is None:
        raise SpaceError(
            "search.constraints.parameters cannot be checked, because the space's models have parameters only once "
            "they are trained. Give the model an input shape (keras.Input), or remove the setting."
        )
    for number, values in enumerate(first):
        parameters = count(values)
        if parameters is not None and parameters > limit:
            raise SpaceError(
                f"search.first[{number}]: the model has {parameters:,} parameters, and search.constraints.parameters "
                f"allows {limit:,}. Change one of them."
            )

    def is_rejected(values: Mapping[str, Value]) -> bool:
        parameters = count(values)
        if parameters is None or parameters <= limit:
            return False
        log.info(
            "rejected a model of %s parameters, which is more than %s: %s", f"{parameters:,}", f"{limit:,}", values
        )
        return True

    return is_rejected
