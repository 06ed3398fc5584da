"""Environment variables that look like this program's, but that it does not know."""

import difflib
import re
from collections.abc import Mapping

from tuner import names
from tuner.config.loading import all_keys
from tuner.errors import ConfigError
from tuner.printable import printable

_PREFIX = "CIFAKE_TUNE_"
_OF_A_SERVICE = re.compile(
    r"_SERVICE_HOST|_SERVICE_PORT(_\w+)?|_PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?", re.ASCII
)
"""Ends of the variables that Kubernetes sets in each pod for each Service, such as `cifake-tune-chief`."""
_ADDRESS = re.compile(r"(tcp|udp|sctp)://")
"""Begin of the value of another such variable, such as CIFAKE_TUNE_CHIEF_PORT."""


def check_variables(environment: Mapping[str, str]) -> None:
    """Raise ConfigError if a variable has this program's prefix and is unknown. The error names the nearest one."""
    known = _known()
    for variable, value in sorted(environment.items()):
        if not variable.startswith(_PREFIX) or variable.startswith(names.ENV_SETTING) or variable in known:
            continue
        if variable in names.ENV_OF_TESTS or _is_of_a_service(variable, value):
            continue
        settings = [f"{names.ENV_SETTING}{key.upper().replace('.', '__')}" for key in all_keys()]
        nearest = difflib.get_close_matches(variable.upper(), [*known, *settings], n=1, cutoff=0.0)[0]
        raise ConfigError(
            f"the environment variable {printable(variable):.100} is unknown; did you mean {nearest}? "
            "Rename or unset it."
        )


def _is_of_a_service(variable: str, value: str) -> bool:
    rest = variable.removeprefix(_PREFIX.rstrip("_"))
    if any(match.end() == len(rest) for match in _OF_A_SERVICE.finditer(rest)):
        return True
    return rest.endswith("_PORT") and _ADDRESS.match(value) is not None


def _known() -> list[str]:
    variables = [value for name, value in vars(names).items() if name.startswith("ENV_") and isinstance(value, str)]
    return [variable for variable in variables if variable.startswith(_PREFIX) and variable != names.ENV_SETTING]
