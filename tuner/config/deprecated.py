"""Settings and values with a new name. The old name still works, with a warning (docs/compatibility.md)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Renamed:
    """A setting, or a value of a setting, that has a new name."""

    key: str
    """Key of the setting, such as `search.max_trials`. The old key, if the setting itself has a new name."""
    since: str
    """First version with the new name."""
    new_key: str = ""
    """New key of the setting; empty if its value has a new name. Both keys must have the same section."""
    value: str = ""
    new_value: str = ""

    @property
    def sentence(self) -> str:
        """The warning."""
        old, new = (self.key, self.new_key) if self.new_key else (f"{self.key}: {self.value}", self.new_value)
        return f"{old} is called {new} since version {self.since}, and a later version will refuse the old name."


RENAMED = (Renamed("search.early_stopping.policy", "0.2.0", value="asha", new_value="stopping"),)


def with_new_names(
    values: Mapping[str, Any], renamed: Sequence[Renamed] = RENAMED
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return a user's settings with the new names, and a warning for each old one. The arguments do not change.

    If the user gave both keys of a setting, the old one remains, and is refused as an unknown key.
    """
    result, warnings = dict(values), []
    for change in renamed:
        *path, last = change.key.split(".")
        section = _copied_section(result, path)
        if section is None or last not in section:
            continue
        if not change.new_key:
            if section[last] != change.value:
                continue
            section[last] = change.new_value
        else:
            new = change.new_key.rsplit(".", 1)[-1]
            if new in section:
                continue
            section[new] = section.pop(last)
        warnings.append(change.sentence)
    return result, tuple(warnings)


def _copied_section(values: dict[str, Any], path: Sequence[str]) -> dict[str, Any] | None:
    """Return the section at a path, after replacing it and the sections around it by copies; None if there is none."""
    for part in path:
        inner = values.get(part)
        if not isinstance(inner, dict):
            return None
        values[part] = values = dict(inner)
    return values
