"""Generate charts/values.schema.json from chart.json and tuner.config.settings. `make docs` runs this."""

import json
from pathlib import Path
from typing import Any

import yaml

from tuner.config.loading import json_schema

CHART = Path(__file__).with_name("chart.json")
VALUES = Path(__file__).parents[1] / "values.yaml"
FILE = Path(__file__).parents[1] / "values.schema.json"


def values_schema() -> dict[str, Any]:
    """Return the JSON Schema of the chart's values."""
    schema: dict[str, Any] = json.loads(CHART.read_text(encoding="utf-8"))
    _require(schema, yaml.safe_load(VALUES.read_text(encoding="utf-8")))
    study = json_schema()
    definitions = study.pop("$defs")
    schema["properties"]["study"] = {"$ref": "#/$defs/Study"}
    schema["$defs"] |= {"Study": study, **definitions}
    readable: dict[str, Any] = _readable(schema)
    return readable


def _require(schema: dict[str, Any], values: dict[str, Any]) -> None:
    """Require every key that has a default.

    Such a key is missing only if it was set to null, or if the values of an older chart are reused without the defaults
    of this one. A template would then fail without an explanation.
    """
    schema["required"] = [key for key, default in values.items() if default is not None]
    for key, part in schema["properties"].items():
        if "properties" in part:
            _require(part, values[key])


def _readable(schema: Any) -> Any:
    """Return an equivalent schema for which helm's error messages are helpful.

    The error of an unknown key names its location and all valid keys there. A nullable value is not reported as two
    schemas that both failed. Patterns, which helm would print, are checked by templates/validation.yaml instead.
    """
    if isinstance(schema, list):
        return [_readable(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    readable = {key: _readable(value) for key, value in schema.items() if key != "pattern"}
    if readable.get("additionalProperties") is False:
        readable["propertyNames"] = {"enum": list(readable["properties"])}
    if {"type": "null"} in readable.get("anyOf", ()):
        (other,) = (option for option in readable.pop("anyOf") if option != {"type": "null"})
        nullable_type = {"type": [other["type"], "null"]} if "type" in other else {}
        readable = other | readable | nullable_type
    return readable


def text() -> str:
    """Return the content of charts/values.schema.json."""
    return json.dumps(values_schema(), indent=2) + "\n"


if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8")
