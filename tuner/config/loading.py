"""Load settings from study.yaml, the environment and --set, and report each error in a sentence."""

import difflib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from tuner import names
from tuner.config.deprecated import with_new_names
from tuner.config.section import Settings
from tuner.config.settings import Study
from tuner.config.space_import import import_advice
from tuner.config.yaml import ABSENT, DEPTH, parse_value, read_settings
from tuner.errors import ConfigError
from tuner.printable import printable

SHOWN_CHARACTERS = 100
"""Maximum length of a key or of a value in an error message."""
SECRET_KEYS = ("notify", "webhook")
"""Parts of the keys whose values are secrets, so that no error message shows them."""


@dataclass(frozen=True)
class Loaded:
    """Settings, with and without the defaults."""

    study: Study
    given: dict[str, Any]
    """The values that the user gave, with the keys of study.yaml."""
    warnings: tuple[str, ...] = ()
    """A sentence for each old name that the user gave (`tuner.config.deprecated`)."""


def load(
    file: Path | None = None,
    settings: Iterable[str] = (),
    environment: Mapping[str, str] | None = None,
    recorded: Study | None = None,
) -> Study:
    """Return the study that `load_given` loads. Raises ConfigError."""
    return load_given(file, settings, environment, recorded).study


def load_given(
    file: Path | None = None,
    settings: Iterable[str] = (),
    environment: Mapping[str, str] | None = None,
    recorded: Study | None = None,
    name: str = "",
) -> Loaded:
    """Return the study that results from the file, the environment and the `key=value` settings, and these values.

    Args:
        file: Path of study.yaml. None means that there is no such file.
        settings: Arguments of `--set`, such as `search.max_trials=20`; a later one overrides an earlier one.
        environment: Environment variables. Those that begin with `CIFAKE_TUNE_STUDY__` are settings.
        recorded: Settings of an existing study, instead of a file.
        name: Name of the study if none is set; empty for the default.

    Raises:
        ConfigError: A setting is invalid. The message names the file or variable, the key and the valid values.
    """
    values: dict[str, Any] = with_new_names(dump(recorded))[0] if recorded else {}
    if file:
        values = _with_values(read_settings(file), str(file))
    origins: dict[str, str] = {}  # the variable or --set of each key that does not come from the file
    for variable, text in sorted((environment or {}).items()):
        if variable.startswith(names.ENV_SETTING):
            path = variable.removeprefix(names.ENV_SETTING).lower().split("__")
            where = _shown(variable)
            _put(values, path, _value(text, where), where)
            origins[".".join(path)] = where
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals or not key:
            got = f"{_shown_key(setting)!r:.100}"
            raise ConfigError(f"--set must be KEY=VALUE, such as search.max_trials=20, got {got}.")
        where = f"--set {_shown_key(key)}=…" if _is_secret(key) else f"--set {_shown(setting)}"
        _put(values, key.split("."), _value(text, where), where)
        origins[key] = where
    if name:
        values = {"name": name, **values}
    values, warnings = with_new_names(values)
    return Loaded(_validate(values, str(file) if file else "the settings", origins), values, warnings)


def layered(lower: Mapping[str, Any], upper: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of both, in which those of `upper` override those of `lower`."""
    values = dict(lower)
    for key, value in upper.items():
        below = values.get(key)
        values[key] = layered(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
    return values


def overriding(lower: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return `layered` values, without the direction of an objective that the user replaces by another one."""
    values, below = layered(lower, given), lower.get("search") or {}
    search = given.get("search") or {}
    if "direction" not in search and search.get("objective", below.get("objective")) != below.get("objective"):
        del values["search"]["direction"]
    return values


def _value(text: str, where: str) -> Any:
    """Return the value of a variable or of `--set`. Raises ConfigError if it is empty, like an unset shell variable."""
    if not text.strip():
        raise ConfigError(f"{where}: the value is empty. Write a value, or null for the default.")
    return _without_absent(parse_value(text, where))


def _with_values(values: dict[str, Any], file: str) -> dict[str, Any]:
    """Return the values of a file. Raises ConfigError if a setting has a key and no value."""
    for key in all_keys():
        value: Any = values
        for part in key.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        if value is ABSENT:
            raise ConfigError(f"{file}: {key}: has no value. Write a value, or null for the default.")
    complete: dict[str, Any] = _without_absent(values)
    return complete


def _without_absent(value: Any) -> Any:
    """Return the value with None instead of ABSENT. Its depth is limited by the loader."""
    if isinstance(value, dict):
        return {key: _without_absent(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_without_absent(inner) for inner in value]
    return None if value is ABSENT else value


def parse(values: Mapping[str, Any], where: str) -> Study:
    """Return the study that `values` describe. If they are invalid, the ConfigError's message begins with `where`."""
    return _validate(values, where, {})


def _validate(values: Mapping[str, Any], where: str, origins: Mapping[str, str]) -> Study:
    try:
        # JSON mode accepts strings as enums, unlike Python mode, and does not accept "3" as a number
        return Study.model_validate_json(json.dumps(values), by_alias=True, by_name=False)
    except ValidationError as error:
        raise ConfigError(
            "\n".join(
                f"{_origin(detail, origins) or where}: {_import_sentence(detail, values) or _sentence(detail)}"
                for detail in error.errors()
            )
        ) from None


def _origin(error: Any, origins: Mapping[str, str]) -> str | None:
    path = [str(part) for part in error["loc"]]
    return next((origins[key] for n in range(len(path), 0, -1) if (key := ".".join(path[:n])) in origins), None)


def dump(study: Study) -> dict[str, Any]:
    """Return all settings as plain values with the keys of study.yaml; `parse` reads them back."""
    return study.model_dump(mode="json", by_alias=True)


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of study.yaml."""
    return Study.model_json_schema(by_alias=True)


def _put(values: dict[str, Any], path: list[str], value: Any, where: str) -> None:
    if not all(path) or len(path) > DEPTH:
        raise ConfigError(f"{where}: the key must be written as SECTION.KEY, such as search.max_trials.")
    for depth, part in enumerate(path[:-1], start=1):
        inner = values.setdefault(part, {})
        if not isinstance(inner, dict):
            raise ConfigError(
                f"{where}: {_shown('.'.join(path[:depth]))} is not a section, so it has no keys. Set it to a value."
            )
        values[part] = values = dict(inner)
    values[path[-1]] = value


def _import_sentence(error: Any, values: Mapping[str, Any]) -> str:
    """Return the sentence about a `space.import` that is not written as module:name; "" for another error."""
    if error["type"] != "string_pattern_mismatch" or error["loc"] != ("space", "import"):
        return ""
    advice = import_advice(error["input"], Path(str(values["space"].get("code") or ".")))
    value = _shown(json.dumps(error["input"]))
    return f"space.import: must be module:name, such as my_models:build_model, got {value}. {advice}"


def _sentence(error: Any) -> str:
    path = [str(part) for part in error["loc"]]
    key = _shown_key(".".join(path) or "study")
    if error["type"] == "extra_forbidden":
        known = _sibling_keys(path)
        nearest = difflib.get_close_matches(path[-1], known, n=1, cutoff=0.5)
        other_sections = [other for other in all_keys() if other.rsplit(".", 1)[-1] == path[-1]]
        if nearest:
            return f"unknown key {key}; did you mean {'.'.join([*path[:-1], nearest[0]])}?"
        if other_sections:
            return f"unknown key {key}; did you mean {other_sections[0]}?"
        return f"unknown key {key}; valid keys: {', '.join(known) or 'none'}."
    value = "a secret" if _is_secret(".".join(path)) else _shown(json.dumps(error["input"], default=str))
    if error["type"] == "model_type":
        return f"{key}: must be a section with keys, got {value}. Remove it to use the defaults."
    if error["type"] == "string_pattern_mismatch":
        return f"{key}: got {value}, which is not valid. {' '.join(_description(path).split())}"
    message = error["msg"].removeprefix("Value error, ").replace("Input should be", "must be", 1)
    got = "" if error["type"] == "value_error" else f", got {value}"
    return f"{key}: {message[0].lower()}{message[1:]}{got}."


def _shown(text: str) -> str:
    """Return a text of the user as a message shows it: without control characters and passwords, and not too long."""
    shown = re.sub(r"://[^\s@]*@", "://…@", printable(text))  # user and password of a URL
    shown = re.sub(r"(://[^\s?]*\?)[^\s\"']*", r"\1…", shown)  # its query, which may have a token
    return shown if len(shown) <= SHOWN_CHARACTERS else f"{shown[:SHOWN_CHARACTERS]} … ({len(text):,} characters)"


def _is_secret(key: str) -> bool:
    """Return whether a key, or the key of which it may be a misspelling, has a secret as its value."""
    return any(difflib.get_close_matches(part.lower(), SECRET_KEYS) for part in _plain(key).split("."))


def _shown_key(key: str) -> str:
    """Return a key as a message shows it. If its value is a secret, it may have been written without `=`."""
    return f"{_plain(key)}…" if _is_secret(key) and _plain(key) != key else _shown(key)


def _plain(key: str) -> str:
    """Return the part of a key that has only the characters of keys."""
    return re.split(r"[^\w.]", key, maxsplit=1)[0]


def _section(path: list[str]) -> type[BaseModel]:
    model: type[BaseModel] = Study
    for part in path[:-1]:
        model = model.model_fields[part].annotation  # type: ignore[assignment]
    return model


def _sibling_keys(path: list[str]) -> list[str]:
    return [field.alias or name for name, field in _section(path).model_fields.items()]


def _description(path: list[str]) -> str:
    fields = _section(path).model_fields
    return next(field.description or "" for name, field in fields.items() if path[-1] in (name, field.alias))


def all_keys() -> list[str]:
    """Return the keys of all settings, such as `search.max_trials`."""
    return _keys_of(Study, "")


def _keys_of(model: type[BaseModel], prefix: str) -> list[str]:
    keys = []
    for name, field in model.model_fields.items():
        section, key = field.annotation, f"{prefix}{field.alias or name}"
        if isinstance(section, type) and issubclass(section, Settings):
            keys += _keys_of(section, f"{key}.")
        else:
            keys.append(key)
    return keys
