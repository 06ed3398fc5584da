"""Values as they travel to the page: short, and valid JSON whatever a model or a worker made of them."""

from collections.abc import Mapping
from math import isfinite

from tuner.study.records import Value, first_line

TEXT_CHARACTERS = 200
"""Of a text in a table; a single trial's page has more."""
LONG_CHARACTERS = 4000
"""There."""
EXACT = 1 << 53
"""Larger integers are no numbers to a browser."""


def text(value: str, characters: int = TEXT_CHARACTERS) -> str:
    """Return a text, cut where it is too long."""
    return value if len(value) <= characters else value[: characters - 1] + "…"


def sentence(reason: str) -> str:
    """Return the first line of a reason."""
    return text(first_line(reason))


def number(value: float | None) -> float | None:
    """Return six digits of a number; None for what is none."""
    return None if value is None or not isfinite(value) else float(f"{value:.6g}")


def value(given: Value) -> Value:
    """Return a hyperparameter's value; as a text where it is no number to JSON."""
    if isinstance(given, str):
        return text(given)
    if isinstance(given, float):
        return str(given) if not isfinite(given) else float(f"{given:.6g}")
    return given if abs(given) < EXACT else text(str(given))


def values(given: Mapping[str, Value]) -> dict[str, Value]:
    """Return hyperparameters by name."""
    return {text(key): value(each) for key, each in given.items()}
