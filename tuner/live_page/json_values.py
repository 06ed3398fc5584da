"""Converts values for the page into short and valid JSON, whatever a model or a worker reports."""

from collections.abc import Mapping
from math import isfinite

from tuner.printable import LINES, printable
from tuner.study.records import Value, first_line

TEXT_CHARACTERS = 200
"""Maximum length of a text in a table."""
LONG_CHARACTERS = 4000
"""Maximum length of a text on a single trial's page."""
EXACT = 1 << 53
"""Limit below which JavaScript represents integers exactly."""


def text(value: str, characters: int = TEXT_CHARACTERS) -> str:
    """Return a text without control characters, cut if it is too long."""
    return printable(value if len(value) <= characters else value[: characters - 1] + "…", keep=LINES)


def sentence(reason: str) -> str:
    """Return the first line of a reason."""
    return text(first_line(reason))


def number(value: float | None) -> float | None:
    """Return a number rounded to six digits; None if it is not finite."""
    return None if value is None or not isfinite(value) else float(f"{value:.6g}")


def hyperparameter(value: Value) -> Value:
    """Return a hyperparameter's value, as a string if JSON or JavaScript cannot represent the number."""
    if isinstance(value, str):
        return text(value)
    if isinstance(value, float):
        return str(value) if not isfinite(value) else float(f"{value:.6g}")
    return value if abs(value) < EXACT else text(str(value))


def hyperparameters(values: Mapping[str, Value]) -> dict[str, Value]:
    """Return hyperparameters by name."""
    return {text(name): hyperparameter(value) for name, value in values.items()}
