"""What a space's own `fit` returned: its objective and other metrics, as in Keras Tuner."""

import functools
import logging
import math
from collections.abc import Mapping
from typing import Any

import keras
import keras_tuner
import numpy as np
from keras_tuner.src.engine.tuner_utils import average_metrics_dicts, convert_to_metrics_dict

from tuner.study.objective import Objective
from tuner.training.faults import SharedFaultError

log = logging.getLogger(__name__)

_FORMS = "Return a dict such as {'val_accuracy': 0.9}, the History of model.fit(), or a number"


def floats(logs: Mapping[str, Any]) -> dict[str, float]:
    """Return the metrics that are numbers, in the precision of Keras Tuner's protocol.

    In another precision, worker and chief could choose different best epochs.
    """
    return {name: float(np.float32(value)) for name, value in scalars(logs).items()}


def scalars(logs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the metrics of a single value each. Warns once of each other metric, as of one with a value per class."""
    single = {}
    for name, value in logs.items():
        shape = np.shape(value)
        if math.prod(shape) == 1:
            single[name] = keras.ops.reshape(value, ()) if shape else value
        else:
            _warn_of_omitted(name)
    return single


@functools.cache
def _warn_of_omitted(name: str) -> None:
    log.warning("the metric %s has several values and is omitted, because only numbers are recorded", name)


def returned_metrics(result: Any, objective: Objective, objective_is_set: bool) -> dict[str, float]:
    """Return the metrics that `fit` returned: a dict, a number, or a list of these, which is averaged.

    Args:
        result: The return value. A History is one of `model.fit`, whose best epoch counts.
        objective: The search's objective, whose value a number is.
        objective_is_set: Whether the user chose the objective. Otherwise it is unknown what a number means.

    Raises:
        SharedFaultError: The return value has another type, or is a number of unknown meaning.
    """
    if isinstance(result, list) and result:
        averages: dict[str, float] = average_metrics_dicts(
            [returned_metrics(each, objective, objective_is_set) for each in result]
        )
        return averages
    if isinstance(result, keras.callbacks.History):
        return floats(convert_to_metrics_dict(result, keras_tuner.Objective(objective.name, objective.direction)))
    if isinstance(result, Mapping):
        return _numbers(result)
    if result is None:
        raise SharedFaultError(
            f"fit() neither passed the callbacks on to model.fit() nor returned the objective. {_FORMS}."
        )
    if isinstance(result, str | bytes) or np.ndim(result) or not hasattr(result, "__float__"):
        raise SharedFaultError(f"fit() returned {type(result).__name__}, which does not give the objective. {_FORMS}.")
    if not objective_is_set:
        raise SharedFaultError(
            f"fit() returned a number ({float(result):g}), which is the value of search.objective, but the study does "
            "not say what that is. Set both search.objective (a name for the number, such as mae) and search.direction "
            "(min or max)."
        )
    return floats({objective.name: result})


def histories(history: keras.callbacks.History, objective: Objective) -> list[dict[str, float]]:
    """Return the metrics of the model that `model.fit` leaves, as far as its History tells.

    They are those of the last epoch or, if a callback restored the best weights, those of the best one.
    """
    last = floats({name: values[-1] for name, values in history.history.items()})
    if objective.name not in last:
        return [last]
    best = returned_metrics(history, objective, objective_is_set=True)
    return [last] if best == last else [last, best]


def _numbers(result: Mapping[str, Any]) -> dict[str, float]:
    try:
        return floats(result)
    except (TypeError, ValueError) as error:
        raise SharedFaultError(
            f"fit() returned a dict with a value that is not a number ({error}). {_FORMS}."
        ) from None
