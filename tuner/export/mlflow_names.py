"""The keys under which MLflow stores hyperparameters and metrics, whose names Keras and Keras Tuner do not restrict."""

import re
from collections.abc import Iterable

MAX_CHARACTERS = 240
"""MLflow's limit is 250. The rest is for the number that distinguishes equal keys."""


def mlflow_keys(names: Iterable[str]) -> dict[str, str]:
    """Return the key of each name, each key once.

    Keys have letters, digits, `_`, `-`, `.`, spaces, and slashes as between the parts of a relative path. Names that
    would have equal keys are numbered in their order, so names that are added later do not change earlier keys.
    """
    keys: dict[str, str] = {}
    taken: set[str] = set()
    for name in names:
        base = key = _key(name)
        number = 2
        while key in taken:
            key, number = f"{base}_{number}", number + 1
        taken.add(key)
        keys[name] = key
    return keys


def _key(name: str) -> str:
    parts = re.sub(r"[^\w\-. /]", "_", name).split("/")
    return "/".join(part for part in parts if part not in ("", ".", ".."))[:MAX_CHARACTERS].rstrip("/") or "_"
