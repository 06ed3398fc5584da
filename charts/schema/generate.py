"""Write charts/values.schema.json out of chart.json, and the study's part out of tuner.config: `make docs`."""

import json
from pathlib import Path
from typing import Any

from tuner import config

CHART = Path(__file__).with_name("chart.json")
FILE = Path(__file__).parents[1] / "values.schema.json"


def values_schema() -> dict[str, Any]:
    """Return the JSON Schema of the chart's values."""
    schema: dict[str, Any] = json.loads(CHART.read_text(encoding="utf-8"))
    study = config.json_schema()
    definitions = study.pop("$defs")
    schema["properties"]["study"] = {"$ref": "#/$defs/Study"}
    schema["$defs"] |= {"Study": study, **definitions}
    return schema


def text() -> str:
    """Return the file's content."""
    return json.dumps(values_schema(), indent=2) + "\n"


if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8")
