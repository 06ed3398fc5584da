"""Nothing that users of release 0.1.0 rely on was removed or renamed (docs/compatibility.md).

Each test lists the names of one interface with the program of 0.1.0 and with this one.
"""

import subprocess
import sys

import pytest
import yaml

from tests.compatibility.earlier_release import EarlierRelease
from tests.e2e.cluster import CHART

COMMON = """
import dataclasses, enum
from pydantic import BaseModel
def fields(*classes):
    for each in classes:
        for name, field in each.model_fields.items():
            print(each.__name__, field.alias or name)
"""
LISTINGS = {
    "settings and their values": """
from tuner.config import settings
def leaves(section, prefix=""):
    for name, field in section.model_fields.items():
        kind, key = field.annotation, prefix + (field.alias or name)
        if isinstance(kind, type) and issubclass(kind, settings.Settings):
            leaves(kind, key + ".")
        else:
            print(key)
leaves(settings.Study)
for each in (settings.Algorithm, settings.Policy, settings.Direction):
    for member in each:
        print(each.__name__, member.value)
""",
    "commands and options": """
from typer.main import get_command
from tuner.cli.app import app
def walk(command, path):
    for parameter in command.params:
        for option in [*parameter.opts, *parameter.secondary_opts]:
            print(path, option)
    for name, inner in getattr(command, "commands", {}).items():
        print(path, name)
        walk(inner, path + " " + name)
walk(get_command(app), "")
""",
    "variables, exit codes and metrics": """
from tuner import names
from tuner.errors import ExitCode
print(*(value for name, value in vars(names).items() if name.startswith(("ENV_", "HTTP_", "METADATA_"))), sep="\\n")
print(*(f"{code.name} {code.value}" for code in ExitCode), sep="\\n")
from tuner.monitoring import catalogue
for family in vars(catalogue).values():
    if hasattr(family, "labels") and hasattr(family, "name"):
        print(family.name, *family.labels)
print(*type(catalogue.BUILD.name), sep="\\n")  # the enumeration of names, wherever it is defined
""",
    "fields of JSON": """
from tuner.study import views, status
from tuner.evaluation import result
for module in (views, status, result):
    classes = [each for each in vars(module).values() if isinstance(each, type) and issubclass(each, BaseModel)]
    fields(*(each for each in classes if each.__module__ == module.__name__))
""",
    "states and outcomes": """
from tuner.study.records import Outcome, TrialState
for each in (Outcome, TrialState):
    print(*(f"{each.__name__} {member.value}" for member in each), sep="\\n")
""",
}


@pytest.mark.parametrize("interface", LISTINGS)
def test_an_interface_has_everything_that_the_earlier_release_had(interface: str, earlier: EarlierRelease) -> None:
    code = COMMON + LISTINGS[interface]
    was = set(earlier.evaluate(code).splitlines())
    command = [sys.executable, "-c", code]
    now = set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines())
    assert len(was) > 5
    assert was - now == set()


def test_the_chart_has_every_value_of_the_earlier_one(earlier: EarlierRelease) -> None:
    was, now = (
        set(paths(yaml.safe_load((chart / "values.yaml").read_text()))) for chart in (earlier.sources / "charts", CHART)
    )
    assert len(was) > 50
    assert was - now == set()


def paths(values: dict[str, object], prefix: str = "") -> list[str]:
    """Return the paths of all values."""
    found = []
    for key, value in values.items():
        found += [prefix + key, *(paths(value, f"{prefix}{key}.") if isinstance(value, dict) else [])]
    return found
