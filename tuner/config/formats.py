"""The version of what one process writes and another reads: records, snapshots, messages, files of the bucket.

There is one version for all of them. Readers ignore fields that they do not know, so a minor version may add some; they
refuse a newer major version. docs/formats.md has the rules for a change.
"""

import re
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo

from tuner.errors import NewerFormatError


@dataclass(frozen=True, order=True)
class FormatVersion:
    """A version, written as `1.0`: the major one, and the minor one."""

    major: int
    minor: int


FORMAT = "1.0"
"""The version that this program writes."""

_UNVERSIONED = "1.0"
"""The version of what was written before versions were."""

ABSENT: Any = object()
"""Default of a field `format`, which validation replaces."""


def parse_format(text: str) -> FormatVersion:
    """Return the version. Raises ValueError if the text is not one."""
    match = re.fullmatch(r"([0-9]{1,6})\.([0-9]{1,6})", text)
    if not match:
        raise ValueError("must be the version of a format, as 1.0")
    return FormatVersion(int(match[1]), int(match[2]))


def _given(version: Any, info: ValidationInfo) -> Any:
    """Return the version, and for an absent one that of an old JSON document, or that of what this program makes."""
    if version is not ABSENT:
        return version
    return _UNVERSIONED if info.mode == "json" else FORMAT


def _readable(text: str) -> str:
    """Return the version. Raises ValueError, and NewerFormatError, which pydantic passes on as it is."""
    if text != FORMAT and parse_format(text).major > parse_format(FORMAT).major:
        raise NewerFormatError(
            f"has format {text}, and this program reads {FORMAT}; use the version of cifake-tune that wrote it, "
            "or a newer one."
        )
    return text


Format = Annotated[str, Field(validate_default=True), BeforeValidator(_given), AfterValidator(_readable)]
"""Type of the field `format`. Validation raises NewerFormatError if its major version is newer than this program's."""


class Versioned(BaseModel):
    """Base of what carries its version. A JSON document without one has 1.0.

    The sentence of a NewerFormatError has no subject: a reader puts the name of what it has read before it.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", ser_json_inf_nan="constants")

    format: Format = ABSENT
