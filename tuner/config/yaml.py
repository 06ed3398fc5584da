"""The YAML dialect of settings: a duplicate key is an error, a date is a string, and 1e-3 is a number."""

import re
from pathlib import Path
from typing import Any

import yaml

from tuner.errors import ConfigError


def read_settings(file: Path) -> dict[str, Any]:
    """Return the content of a settings file. Raises ConfigError."""
    try:
        values = yaml.load(file.read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506  (a SafeLoader)
    except FileNotFoundError:
        raise ConfigError(f"{file}: no such file. Check the path.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: cannot be read ({error}). Provide a readable file in UTF-8.") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{file}: not valid YAML ({' '.join(str(error).split())}). Correct the file.") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ConfigError(f"{file}: must be a mapping of settings, such as `search:`, got a {type(values).__name__}.")
    return values


def parse_value(text: str, where: str) -> Any:
    """Return a value that was written on a command line. The message of the ConfigError begins with `where`."""
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506  (a SafeLoader)
    except yaml.YAMLError:
        raise ConfigError(f"{where}: the value is not valid YAML. Enclose it in quotes.") from None


class _Loader(yaml.SafeLoader):
    """The parts of YAML 1.2 that matter here: 1e-3 is a number, a date is a string, a duplicate key is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = set()
        for key_node, _ in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(None, None, "a key must be a scalar", key_node.start_mark)
            if key_node.value in keys:
                raise yaml.constructor.ConstructorError(
                    None, None, f"duplicate key {key_node.value!r}", key_node.start_mark
                )
            keys.add(key_node.value)
        return super().construct_mapping(node, deep)


_Loader.yaml_implicit_resolvers = {  # without timestamps, so that `name: 2026-01-31` has a string as its value
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+0123456789.")
)
