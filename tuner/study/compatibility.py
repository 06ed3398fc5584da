"""Going on with a study: which settings may change between two runs of it."""

import json
from collections.abc import Mapping
from typing import Any

from tuner.config.loading import dump
from tuner.config.settings import Algorithm, Study
from tuner.errors import ConfigError

HARMLESS = ("search.max_trials", "training.epochs")  # growing; the second not for every algorithm
OPERATIONAL = (
    "search.max_consecutive_failures",
    "retries.",
    "leases.",
    "evaluation.",
    "data.source",
    "space.code",
)  # no result depends on these

VALUES = "space.values"  # no section: its keys are the user's


def check_resume(recorded: Study, given: Study) -> None:
    """Raise ConfigError where a study that ran as `recorded` cannot go on as `given`, with the difference.

    Allowed are more trials, more epochs where every trial trains for itself (random, grid; hyperband's rungs
    follow from the epochs, and a Gaussian process would compare scores of different lengths), and settings
    that no result depends on.
    """
    before, after = _flat(dump(recorded)), _flat(dump(given))
    refused = []
    for key in before:
        if before[key] == after[key] or key.startswith(OPERATIONAL):
            continue
        grown = key in HARMLESS and after[key] > before[key]
        epochs_free = key != "training.epochs" or given.search.algorithm in (Algorithm.RANDOM, Algorithm.GRID)
        if not (grown and epochs_free):
            refused.append(f"{key} was {json.dumps(before[key])}, is now {json.dumps(after[key])}")
    if refused:
        raise ConfigError(
            f"study {given.name!r} has begun with other settings: {'; '.join(refused)}. "
            "Restore them, or choose another `name` to start a new study."
        )


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict) and f"{prefix}{key}" != VALUES:
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
