"""Find the files that a column of a CSV file names, whichever folder its paths are relative to."""

import posixpath
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum

from tuner.data.image_formats import is_named_as_image, may_be_image
from tuner.data.source import File
from tuner.errors import DataError


class Rule(Enum):
    """How a value names a file, from the strictest rule to the most lenient one."""

    BESIDE_CSV = "relative to the CSV file"
    FROM_ROOT = "relative to the source"
    END_OF_PATH = "the end of its path"
    END_OF_VALUE = "the end of the value, such as an absolute path of another machine"
    NAME = "only its name"


@dataclass(frozen=True)
class FileIndex:
    """The files of a source by their names, with and without suffix."""

    folder: str
    """Folder of the CSV file; "" is the source itself."""
    by_name: dict[str, list[File]]
    by_stem: dict[str, list[File]]

    def rule_for(self, values: Sequence[str]) -> tuple[Rule, int]:
        """Return the rule for a whole column, and the number of its values that name a file.

        The rule is the strictest one by which half of the values name a file, else the one by which most do. If lenient
        rules applied to single values, a missing file's label would go to another file of the same name.
        """
        best, most = Rule.NAME, 0
        for rule in Rule:
            count = sum(bool(self._matches(rule, value)) for value in values)
            if count * 2 >= len(values):
                return rule, count
            if count > most:
                best, most = rule, count
        return best, most

    def find(self, rule: Rule, value: str) -> File | None:
        """Return the file that a value names, or None. Raises DataError if it may be several files."""
        matches = self._matches(rule, value)
        if len(matches) > 1:
            raise DataError(
                f"{value} may be {matches[0].path} or {matches[1].path}. Write paths relative to the folder of the CSV "
                "file, with suffix."
            )
        return matches[0] if matches else None

    def _matches(self, rule: Rule, value: str) -> list[File]:
        plain = value.strip().replace("\\", "/").removeprefix("./")
        name = plain.rpartition("/")[2]
        if not name:
            return []
        files = self.by_name.get(name)
        if files is None and not is_named_as_image(name):
            stems = self.by_stem.get(name, ())
            return [file for file in stems if self._fits(rule, plain, file.path.rpartition(".")[0])]
        return [file for file in files or () if self._fits(rule, plain, file.path)]

    def _fits(self, rule: Rule, value: str, path: str) -> bool:
        if rule is Rule.BESIDE_CSV:
            return posixpath.normpath(posixpath.join(self.folder, value)) == path
        if rule is Rule.FROM_ROOT:
            return value.lstrip("/") == path
        if rule is Rule.END_OF_PATH:
            return f"/{path}".endswith(f"/{value.lstrip('./')}")
        if rule is Rule.END_OF_VALUE:
            return f"/{value}".endswith(f"/{path}")
        return True


def file_index(files: Iterable[File], folder: str) -> FileIndex:
    """Return the index of the files that may be images."""
    by_name, by_stem = defaultdict(list), defaultdict(list)
    for file in files:
        if may_be_image(file.path):
            name = file.path.rpartition("/")[2]
            by_name[name].append(file)
            by_stem[name.rpartition(".")[0]].append(file)
    return FileIndex(folder, dict(by_name), dict(by_stem))
