"""Every setting of study.yaml works as a value of the chart, and has a line in docs/settings.md."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.test_chart import CHARTS, rendered
from tuner.config.loading import all_keys, dump, json_schema, parse
from tuner.errors import ConfigError

SETTINGS = (CHARTS.parent / "docs" / "settings.md").read_text(encoding="utf-8")
CANDIDATES: tuple[Any, ...] = (
    True,
    7,
    77,
    0.5,
    "gs://mine/data.zip",
    "mine",
    "mine:space",
    "http://mlflow:5000",
    "https://mine.example.com/hook",
    "mine.py",
    ["mine"],
    ["default"],
    [24, 48],
    {"rate": [0.1, 0.2]},
)
"""Each setting that is no enumeration takes one of these, as another value than its default."""
REQUIRED = {
    "data.own": {"space": {"import": "mine:space"}},
    "space.arguments": {"space": {"script": "mine.py"}},
    "space.tuner": {"space": {"script": "mine.py"}},
}
"""What a setting does not work without."""

Values = dict[str, Any]


def words(key: str) -> list[Any]:
    """Return the values of a setting that is an enumeration."""
    schema = json_schema()

    def resolved(node: dict[str, Any]) -> dict[str, Any]:
        reference = node.get("$ref", "").removeprefix("#/$defs/")
        return schema["$defs"][reference] if reference else node

    node = schema
    for part in key.split("."):
        node = resolved(node["properties"][part])
    options = [node, *map(resolved, node.get("anyOf", ()))]
    return [word for option in options for word in option.get("enum", ()) if word is not None]


def value_at(values: Any, key: str) -> Any:
    for part in key.split("."):
        values = values[part]
    return values


def merged(one: Values, other: Values) -> Values:
    both = [key for key in one.keys() & other.keys() if isinstance(one[key], dict) and isinstance(other[key], dict)]
    return one | other | {key: merged(one[key], other[key]) for key in both}


def accepted(study: Values) -> Values | None:
    """Return all settings of a study; None if the program refuses it."""
    try:
        settings: Values = dump(parse(study, "here"))
    except ConfigError:
        return None
    return settings


def with_another_value(key: str) -> tuple[Values, Any]:
    """Return the study in which a setting has another value than its default, and that value."""
    *sections, name = key.split(".")
    default = value_at(accepted({}), key)
    for candidate in words(key) or CANDIDATES:
        study: Values = {name: candidate}
        for section in reversed(sections):
            study = {section: study}
        study = merged(study, REQUIRED.get(key, {}))
        if (settings := accepted(study)) and (value := value_at(settings, key)) != default:
            return study, value
    raise AssertionError(f"{key} takes none of CANDIDATES: add one that it takes")


def studies() -> list[tuple[Values, Values]]:
    """Return as few studies as the program accepts which together set every setting, each with what it sets."""
    found: list[tuple[Values, Values]] = []
    for key in all_keys():
        study, value = with_another_value(key)
        for index, (others, values) in enumerate(found):
            both, expected = merged(study, others), {**values, key: value}
            if sets(both, expected):
                found[index] = both, expected
                break
        else:
            found.append((study, {key: value}))
    return found


def sets(study: Values, expected: Values) -> bool:
    """Return whether the program accepts a study, and its settings have the expected values."""
    settings = accepted(study)
    return settings is not None and {key: value_at(settings, key) for key in expected} == expected


@pytest.mark.skipif(not shutil.which("helm"), reason="needs helm")
def test_every_setting_works_as_a_value_of_the_chart(tmp_path: Path) -> None:
    tried = []
    for study, expected in studies():
        file = tmp_path / "values.yaml"
        file.write_text(json.dumps({"study": study}), encoding="utf-8")
        objects = rendered(CHARTS, "--values", str(file), "--set", "bucket.url=gs://mine/runs")
        (text,) = [item["data"]["study.yaml"] for item in objects if "study.yaml" in (item.get("data") or {})]
        settings = dump(parse(yaml.safe_load(text), "the chart"))
        assert {key: value_at(settings, key) for key in expected} == expected
        tried += list(expected)
    assert sorted(tried) == sorted(all_keys())


@pytest.mark.parametrize("key", all_keys())
def test_every_setting_has_a_line_in_the_documents(key: str) -> None:
    assert f"\n| `{key}` |" in SETTINGS
