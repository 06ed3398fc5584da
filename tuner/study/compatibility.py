"""Which settings of a study may change when it is resumed."""

import json
from collections.abc import Mapping
from typing import Any

from tuner.config.loading import dump
from tuner.config.settings import Algorithm, Study
from tuner.errors import ConfigError

GROWING = ("search.max_trials", "training.epochs")  # may grow; training.epochs not with every algorithm
OPERATIONAL = (
    "search.max_consecutive_failures",
    "retries.",
    "leases.",
    "evaluation.",
    "data.source",
    "space.code",
)  # do not affect any result

VALUES = "space.values"  # compared as a whole: its keys are the user's


def check_resume(recorded: Study, requested: Study) -> None:
    """Raise ConfigError, naming the differences, if a study that ran as `recorded` cannot be resumed as `requested`.

    Allowed are more trials; more epochs if trials do not depend on each other (with random and grid search, but
    hyperband's rungs follow from the epochs, and a Gaussian process would compare scores of different lengths); and
    settings that do not affect any result.
    """
    recorded_values, requested_values = _flat(dump(recorded)), _flat(dump(requested))
    refused = []
    for key, old in recorded_values.items():
        new = requested_values[key]
        if old == new or key.startswith(OPERATIONAL):
            continue
        grown = key in GROWING and new > old
        epochs_free = key != "training.epochs" or requested.search.algorithm in (Algorithm.RANDOM, Algorithm.GRID)
        if not (grown and epochs_free):
            refused.append(f"{key} was {json.dumps(old)}, is now {json.dumps(new)}")
    if refused:
        raise ConfigError(
            f"study {requested.name!r} was started with other settings: {'; '.join(refused)}. "
            "Restore these settings, or choose another `name` to start a new study."
        )


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict) and f"{prefix}{key}" != VALUES:
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
