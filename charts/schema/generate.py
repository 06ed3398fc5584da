"""Generate charts/values.schema.json and charts/known-values.json. `make docs` runs this.

The sources are chart.json, values.yaml and tuner.config.settings.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from tuner.config.loading import all_keys, dump, json_schema
from tuner.config.settings import Study

CHART = Path(__file__).with_name("chart.json")
VALUES = Path(__file__).parents[1] / "values.yaml"
FILE = Path(__file__).parents[1] / "values.schema.json"
KNOWN_FILE = Path(__file__).parents[1] / "known-values.json"


def values_schema() -> dict[str, Any]:
    """Return the JSON Schema of the chart's values."""
    schema: dict[str, Any] = json.loads(CHART.read_text(encoding="utf-8"))
    study = json_schema()
    definitions = study.pop("$defs")
    schema["properties"]["study"] = {"$ref": "#/$defs/Study"}
    schema["$defs"] |= {"Study": study, **definitions}
    readable: dict[str, Any] = _readable(schema)
    return readable


def known_values() -> dict[str, Any]:
    """Return the defaults of all values and of all settings of a study by their paths."""
    schema = json.loads(CHART.read_text(encoding="utf-8"))
    values = yaml.safe_load(VALUES.read_text(encoding="utf-8"))
    defaults = dict(_defaults(schema["properties"], values, ""))
    return {"defaults": defaults, "study": {f"study.{key}": _study_default(key) for key in all_keys()}}


def _study_default(key: str) -> Any:
    value: Any = dump(Study())
    for part in key.split("."):
        value = value[part]
    return value


def _defaults(properties: dict[str, Any], values: dict[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, default in values.items():
        if "properties" in properties[key]:
            yield from _defaults(properties[key]["properties"], default, f"{prefix}{key}.")
        else:
            yield prefix + key, default


def _readable(schema: Any) -> Any:
    """Return an equivalent schema for which helm's error messages are helpful.

    A nullable value is not reported as two schemas that both failed. templates/validation.yaml checks patterns, which
    helm would print, unknown keys, for which helm would not name the nearest one, and values that exclude each other,
    for which helm would print `not`.
    """
    if isinstance(schema, list):
        return [_readable(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    readable = {key: _readable(value) for key, value in schema.items() if key not in ("pattern", "not")}
    if readable.get("additionalProperties") is False:
        del readable["additionalProperties"]
    if {"type": "null"} in readable.get("anyOf", ()):
        (other,) = (option for option in readable.pop("anyOf") if option != {"type": "null"})
        nullable_type = {"type": [other["type"], "null"]} if "type" in other else {}
        readable = other | readable | nullable_type
    return readable


def text() -> str:
    """Return the content of charts/values.schema.json."""
    return json.dumps(values_schema(), indent=2) + "\n"


def known_text() -> str:
    """Return the content of charts/known-values.json, which templates/_values.tpl reads."""
    return json.dumps(known_values(), indent=2) + "\n"


if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8")
    KNOWN_FILE.write_text(known_text(), encoding="utf-8")
