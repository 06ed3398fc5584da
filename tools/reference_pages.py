"""Write docs/settings.md from tuner.config.settings and docs/metrics.md from tuner.monitoring.catalogue: `make docs`.

A test holds that they are up to date.
"""

from pathlib import Path
from typing import Any

from tuner import names
from tuner.config.loading import json_schema
from tuner.monitoring import catalogue

DOCS = Path(__file__).parents[1] / "docs"
FILE = DOCS / "settings.md"
METRICS_FILE = DOCS / "metrics.md"

HEAD = f"""# Settings

*Made by `make docs` out of `tuner/config/settings.py`; change the sentences there.*

Every setting has a default. It can be set in four places, a later one winning over an earlier:

1. the default,
2. study.yaml: `search: {{max_trials: 20}}`,
3. the environment: `{names.ENV_SETTING}SEARCH__MAX_TRIALS=20`,
4. the command line: `--set search.max_trials=20`.

Values are YAML in all of them. A key that does not exist, and a value of a wrong type or out of its range, is
an error (exit code 2) that says where it stands and what would be right.
"""

METRICS_HEAD = f"""# Metrics

*Made by `make docs` out of `tuner/monitoring/catalogue.py`; change the sentences there.*

Chief and workers show these at `{names.HTTP_METRICS}`; [monitoring.md](monitoring.md) says where, and how they get into
Prometheus and Grafana. Each has the label `{names.LABEL_STUDY}`, as soon as the process knows its study, beside
those in the table. Beside them are `process_*`: the process's memory, processor time and open files.

No label has a trial's id or a worker's name: labels have few values, however long a study runs.
"""
METRICS_PARTS = {
    "Chief and workers": catalogue.BOTH,
    "The chief": catalogue.CHIEF,
    "Workers": catalogue.WORKER,
}


def metrics() -> str:
    """Return the page of the metrics, as Markdown."""
    tables = [
        f"## {title}\n\n| metric | kind | labels | meaning |\n| --- | --- | --- | --- |\n"
        + "".join(f"| `{f.name}` | {f.kind} | {', '.join(f.labels)} | {f.help} |\n" for f in families)
        for title, families in METRICS_PARTS.items()
    ]
    return "\n".join([METRICS_HEAD, *tables])


def settings() -> str:
    """Return the page, as Markdown."""
    schema = json_schema()
    rows: dict[str, list[str]] = {"study": []}
    for name, field in schema["properties"].items():
        section = schema["$defs"].get(_reference(field), {})
        if "properties" in section:
            _add_section(rows, name, section, schema)
        else:
            rows["study"].append(_row(name, field, schema))
    tables = [
        f"## {title}\n\n| key | type | default | meaning |\n| --- | --- | --- | --- |\n" + "\n".join(lines) + "\n"
        for title, lines in rows.items()
    ]
    return "\n".join([HEAD, *tables])


def _add_section(rows: dict[str, list[str]], name: str, section: dict[str, Any], schema: dict[str, Any]) -> None:
    """Add a section's table, and after it those of the sections in it."""
    title, lines, inside = f"{name}\n\n{_flow(section['description'])}", [], []
    for key, field in section["properties"].items():
        inner = schema["$defs"].get(_reference(field), {})
        if "properties" in inner:
            inside.append((f"{name}.{key}", inner))
        else:
            lines.append(_row(f"{name}.{key}", field, schema))
    rows[title] = lines
    for key, inner in inside:
        _add_section(rows, key, inner, schema)


def _row(key: str, field: dict[str, Any], schema: dict[str, Any]) -> str:
    default = "" if field["default"] is None else f"`{_plain(field['default'])}`"
    cells = [f"`{key}`", _type(field, schema), default, _flow(field["description"])]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _type(field: dict[str, Any], schema: dict[str, Any]) -> str:
    """Return type and range in words."""
    if "anyOf" in field:  # a setting that can be left out
        return next(_type(option, schema) for option in field["anyOf"] if option.get("type") != "null")
    field = schema["$defs"].get(_reference(field), field)
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"])
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    limits = [f"{sign} {_plain(field[limit])}" for limit, sign in signs.items() if limit in field]
    return ", ".join([field["type"], *limits])


def _reference(field: dict[str, Any]) -> str:
    return str(field.get("$ref", "")).rsplit("/", 1)[-1]


def _plain(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _flow(text: str) -> str:
    return " ".join(text.split())


if __name__ == "__main__":
    FILE.write_text(settings(), encoding="utf-8")
    METRICS_FILE.write_text(metrics(), encoding="utf-8")
