"""Write charts/values.schema.json out of chart.json, and the study's part out of tuner.config.settings: `make docs`."""

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
    """Require what has a default: it is missing only where it was set to null, or where values of an older chart are
    used again without the defaults of this one, and a template would break at it without a sentence."""
    schema["required"] = [key for key, default in values.items() if default is not None]
    for key, part in schema["properties"].items():
        if "properties" in part:
            _require(part, values[key])


def _readable(schema: Any) -> Any:
    """Return the same schema in words in which helm's errors say what to write.

    An unknown key is told with its place, and with all keys that are known there. What may be missing is not told as
    two schemas that both failed. A pattern, which helm would print, is left to templates/validation.yaml.
    """
    if isinstance(schema, list):
        return [_readable(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    said = {key: _readable(value) for key, value in schema.items() if key != "pattern"}
    if said.get("additionalProperties") is False:
        said["propertyNames"] = {"enum": list(said["properties"])}
    if {"type": "null"} in said.get("anyOf", ()):
        (other,) = (each for each in said.pop("anyOf") if each != {"type": "null"})
        said = other | said if "type" not in other else other | said | {"type": [other["type"], "null"]}
    return said


def text() -> str:
    """Return the file's content."""
    return json.dumps(values_schema(), indent=2) + "\n"


if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8")
