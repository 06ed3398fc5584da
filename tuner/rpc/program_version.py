"""Which versions of cifake-tune work together: a chief and its workers may differ by one minor version.

During an upgrade, workers of the earlier release call the new chief, and new workers may call the earlier chief. The
formats alone (`tuner.config.formats`) say only whether a message can be read.
"""

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo

import tuner
from tuner.config.formats import ABSENT
from tuner.errors import IncompatibleVersionError

UNVERSIONED = "0.1.0"
"""Version of a program whose messages do not contain it."""


def _numbers(version: str) -> tuple[int, int]:
    """Return the major and the minor version. Raises ValueError if the text is not a version."""
    match = re.fullmatch(r"([0-9]{1,6})\.([0-9]{1,6})(?:[.+-][0-9A-Za-z.+-]{0,40}|[0-9A-Za-z]{0,10})?", version)
    if not match:
        raise ValueError("must be a version, such as 0.1.0")
    return int(match[1]), int(match[2])


def require_compatible(chief: str, worker: str) -> None:
    """Raise IncompatibleVersionError if a chief and a worker of these versions do not work together."""
    (chief_major, chief_minor), (worker_major, worker_minor) = _numbers(chief), _numbers(worker)
    if chief_major != worker_major or abs(chief_minor - worker_minor) > 1:
        raise IncompatibleVersionError(
            f"the chief has version {chief} of cifake-tune and the worker has version {worker}, and they may differ by "
            "one minor version at most. Use the same version for both."
        )


def _given(version: Any, info: ValidationInfo) -> Any:
    if version is not ABSENT:
        return version
    return UNVERSIONED if info.mode == "json" else tuner.__version__


def _valid(version: str) -> str:
    _numbers(version)
    return version


ProgramVersion = Annotated[str, Field(validate_default=True), BeforeValidator(_given), AfterValidator(_valid)]
"""Type of the field `version` of a message. A JSON message without a version is of UNVERSIONED."""
