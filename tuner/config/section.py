"""The base of all sections of study.yaml, and the types of settings that several sections use."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

MANY = 1_000_000
"""Upper bound of counts that no study reaches. Larger values are mistakes, such as a number with two units."""
YEAR_S = 366 * 24 * 3600.0

Positive = Annotated[int, Field(ge=1, le=MANY)]
Budget = Annotated[int, Field(ge=0, le=MANY)]
Seconds = Annotated[float, Field(ge=0.1, le=YEAR_S)]
Value = bool | int | float | str
"""A hyperparameter's value."""
Values = list[bool] | list[int] | list[float] | list[str]
Text = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]*[^\s\x00-\x1f\x7f][^\x00-\x1f\x7f]*$")]
"""Text that is not blank and has no control characters."""


class Settings(BaseModel):
    """Base of all sections. Unknown keys are errors, values are not converted, and instances are immutable.

    The docstring below a setting is its description in the JSON Schema and in docs/settings.md.
    """

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        frozen=True,
        populate_by_name=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
    )
