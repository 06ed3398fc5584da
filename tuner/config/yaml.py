"""The YAML dialect of settings: a duplicate key is an error, a date is a string, and 1e-3 is a number.

PyYAML limits neither the size that aliases expand to, nor the depth, nor the digits of a number. This loader does, so
that every file is read or refused within a second.
"""

import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any, NoReturn

import yaml

from tuner.errors import ConfigError
from tuner.printable import printable

FILE_BYTES = 64 * 1024
"""Maximum size of a settings file. Files with all settings have 2 KiB."""
VALUES = 2_000
"""Maximum number of values and keys after all aliases are replaced."""
DEPTH = 32
"""Maximum depth of nested values. Settings have four levels."""
NUMBER_CHARACTERS = 100
"""Maximum length of a number. Python itself refuses to convert more than 4,300 digits."""

ABSENT: Any = object()
"""A value that is missing in the file, as in `source:`. Unlike `null`, it is probably a mistake."""

_TAG = "tag:yaml.org,2002:"
_TAGS = {f"{_TAG}{name}" for name in ("str", "int", "float", "bool", "null", "seq", "map", "merge")}
_NUMBERS = (f"{_TAG}int", f"{_TAG}float")


def read_settings(file: Path) -> dict[str, Any]:
    """Return the content of a settings file. A missing value is ABSENT. Raises ConfigError."""
    try:
        with file.open("rb") as opened:
            content = opened.read(FILE_BYTES + 1)
    except FileNotFoundError:
        raise ConfigError(f"{file}: no such file. Check the path.") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL character in the path
        raise ConfigError(f"{file!s:.300}: cannot be read ({error!s:.300}). Provide a readable file.") from None
    if len(content) > FILE_BYTES:
        raise ConfigError(f"{file}: is larger than {FILE_BYTES // 1024} KiB, so it is not a file of settings.")
    values = _load(_decode(content, file), str(file))
    if values is None or values is ABSENT:
        return {}
    if not isinstance(values, dict):
        raise ConfigError(f"{file}: must be a mapping of settings, such as `search:`, got a {type(values).__name__}.")
    return values


def parse_value(text: str, where: str) -> Any:
    """Return a value that was written on a command line. The message of the ConfigError begins with `where`."""
    value = _load(text, where, remedy="Enclose the value in quotes.")
    return None if value is ABSENT else value


def _decode(content: bytes, file: Path) -> str:
    if content.startswith((b"\xff\xfe", b"\xfe\xff")) or content[:2].count(0) == 1:
        raise ConfigError(f"{file}: is encoded in UTF-16. Save it in UTF-8.")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{file}: is not a text file in UTF-8 (byte 0x{content[error.start]:02x} at position {error.start}). "
            "Save it in UTF-8."
        ) from None


def _load(text: str, where: str, remedy: str = "Correct the file.") -> Any:
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506  (a SafeLoader)
    except yaml.reader.ReaderError as error:
        raise ConfigError(
            f"{where}: not valid YAML (the character U+{error.character:04X} at position {error.position} is not "
            f"allowed). {remedy}"
        ) from None
    except yaml.MarkedYAMLError as error:
        problem = f"{error.context}, {error.problem}" if error.context else error.problem
        mark = error.problem_mark
        place = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise ConfigError(f"{where}: not valid YAML ({problem:.300}{place}). {remedy}") from None


class _Loader(yaml.SafeLoader):
    """The parts of YAML 1.2 that matter here, within limits.

    The size and the depth of a node are computed when it is composed, before any value is constructed. An alias counts
    as much as the node that it stands for.
    """

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._depth = 0
        self._extents: dict[int, tuple[int, int]] = {}
        """Number of values and number of levels of each composed node, by its id."""
        self._composed = 0

    def fetch_flow_collection_start(self, token: type[yaml.Token]) -> None:
        if self.flow_level > DEPTH:  # before the scanner looks ahead, which takes quadratic time
            _refuse(f"values are nested more than {DEPTH} levels deep", self.get_mark())
        super().fetch_flow_collection_start(token)

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event: yaml.Event = self.peek_event()  # type: ignore[no-untyped-call]
        mark, is_alias = event.start_mark, isinstance(event, yaml.AliasEvent)
        self._depth += 1
        self._composed += 1
        if self._depth > DEPTH:
            _refuse(f"values are nested more than {DEPTH} levels deep", mark)
        if self._composed > VALUES:
            _refuse(f"there are more than {VALUES:,} values", mark)
        node = super().compose_node(parent, index)
        self._depth -= 1
        if node is None:
            return None
        if id(node) not in self._extents:
            if is_alias:
                _refuse("an alias stands for a value that contains the alias", mark)
            if node.tag not in _TAGS:
                shown = printable(node.tag.replace(_TAG, "!!"))
                _refuse(f"the tag {shown:.60} is not supported; remove it, and enclose text in quotes", node.start_mark)
            self._extents[id(node)] = self._extent(node)
        values, levels = self._extents[id(node)]
        if values > VALUES:
            _refuse(f"its aliases stand for more than {VALUES:,} values", mark)
        if levels > DEPTH:
            _refuse(f"its aliases are nested more than {DEPTH} levels deep", mark)
        return node

    def _extent(self, node: yaml.Node) -> tuple[int, int]:
        parts = [] if isinstance(node, yaml.ScalarNode) else node.value
        if isinstance(node, yaml.MappingNode):
            parts = [part for pair in parts for part in pair]
        extents = [self._extents[id(part)] for part in parts]
        return 1 + sum(values for values, _ in extents), 1 + max((levels for _, levels in extents), default=0)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        if not isinstance(node, yaml.MappingNode):  # a tag can claim that a scalar is a mapping
            _refuse("must be a mapping", node.start_mark)
        keys = set()
        for key_node, _ in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                _refuse("a key must be a scalar", key_node.start_mark)
            if key_node.value in keys:
                _refuse(f"duplicate key {key_node.value!r:.60}", key_node.start_mark)
            keys.add(key_node.value)
            if key_node.tag != f"{_TAG}merge":
                key_node.tag = f"{_TAG}str"  # a hyperparameter may be named `on` or `3`
        return super().construct_mapping(node, deep)

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """Return the value. PyYAML raises various errors if a tag or a prefix, such as 0x, does not fit the text."""
        if isinstance(node, yaml.ScalarNode):
            if node.tag == f"{_TAG}null" and node.value == "":
                return ABSENT
            if node.tag in _NUMBERS and len(node.value) > NUMBER_CHARACTERS:
                _refuse(f"a number has {len(node.value):,} characters", node.start_mark)
            if any("\ud800" <= character <= "\udfff" for character in node.value):
                _refuse("a text has half of a surrogate pair, which is not a character", node.start_mark)
        try:
            return super().construct_object(node, deep)
        except (ValueError, KeyError, IndexError) as error:
            kind = node.tag.removeprefix(_TAG)
            raise yaml.constructor.ConstructorError(
                None, None, f"{printable(str(node.value))!r:.60} is not a valid {kind}", node.start_mark
            ) from error


def _refuse(problem: str, mark: Any) -> NoReturn:
    raise yaml.constructor.ConstructorError(None, None, problem, mark)


_NOT_IMPLICIT = (f"{_TAG}timestamp", f"{_TAG}value")
_Loader.yaml_implicit_resolvers = {  # without timestamps, so that `name: 2026-01-31` has a string as its value
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in _NOT_IMPLICIT]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    f"{_TAG}float", re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+0123456789.")
)
