"""The format version of everything that one process writes and another reads.

Records, snapshots, messages and the other files of the bucket share one sequence of versions. Readers ignore unknown
fields, so a minor version may add fields. Readers refuse a newer major version. A document has the oldest version whose
readers interpret it correctly: COMPATIBLE, or FORMAT if older readers must refuse it. docs/formats.md has the rules for
changes.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo

from tuner.errors import NewerFormatError


@dataclass(frozen=True, order=True)
class FormatVersion:
    """A format version, written as `MAJOR.MINOR`, such as `1.0`."""

    major: int
    minor: int


FORMAT = "2.0"
"""The newest version that this program reads. It writes it in documents that readers of 1.x would misinterpret."""

COMPATIBLE = "1.4"
"""The version of everything else that this program writes."""

_UNVERSIONED = "1.0"
"""The version of everything that was written before versions were recorded."""

ABSENT: Any = object()
"""Default of a field `format`. Validation replaces it."""


@lru_cache
def parse_format(text: str) -> FormatVersion:
    """Return the version. Raises ValueError if the text is not one."""
    match = re.fullmatch(r"([0-9]{1,6})\.([0-9]{1,6})", text)
    if not match:
        raise ValueError("must be the version of a format, such as 1.0")
    return FormatVersion(int(match[1]), int(match[2]))


def _given(version: Any, info: ValidationInfo) -> Any:
    """Return the version. If it is absent, return _UNVERSIONED for a JSON document, else COMPATIBLE."""
    if version is not ABSENT:
        return version
    return _UNVERSIONED if info.mode == "json" else COMPATIBLE


def _given_or_newest(version: Any, info: ValidationInfo) -> Any:
    return FORMAT if version is ABSENT and info.mode != "json" else _given(version, info)


def _readable(text: str) -> str:
    """Return the version. Raises ValueError, or NewerFormatError, which pydantic does not convert."""
    if text not in (FORMAT, COMPATIBLE) and parse_format(text).major > parse_format(FORMAT).major:
        raise NewerFormatError(
            f"has format {text}, and this program reads {FORMAT}. Use the version of cifake-tune that wrote "
            "it, or a newer version."
        )
    return text


Format = Annotated[str, Field(validate_default=True), BeforeValidator(_given), AfterValidator(_readable)]
"""Type of the field `format`. Validation raises NewerFormatError if its major version is newer than this program's."""

NewestFormat = Annotated[
    str, Field(validate_default=True), BeforeValidator(_given_or_newest), AfterValidator(_readable)
]
"""Type of the field `format` in documents that readers of 1.x must refuse."""


class Versioned(BaseModel):
    """Base of all models that contain their format version. A JSON document without a version has version 1.0.

    The message of a NewerFormatError begins with a verb. Callers put the name of the document before it.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", ser_json_inf_nan="constants")

    format: Format = ABSENT
