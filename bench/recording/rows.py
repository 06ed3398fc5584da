"""The rows of a recording: one line of JSON per configuration, so that a recording that was ended can be continued."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Row:
    """The learning curve of one configuration."""

    number: int
    """The configuration's number in the grid."""
    right: list[int]
    """Number of correctly classified validation samples after each epoch."""
    seconds: float
    """Seconds per epoch."""
    parameters: int


class Rows:
    """A file of rows. Its first line describes what is recorded; rows of another recording are refused.

    Args:
        path: The file, which need not exist.
        about: Description of the recording, as JSON.
    """

    def __init__(self, path: Path, about: dict[str, Any]) -> None:
        self._path = path
        self._about = about
        self.rows: dict[int, Row] = {}
        if path.exists():
            self._read()
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(about) + "\n", encoding="utf-8")

    def _read(self) -> None:
        # a process that was killed may have left an incomplete last line
        whole = self._path.read_text(encoding="utf-8").rpartition("\n")[0]
        first, *lines = whole.split("\n")
        if json.loads(first) != self._about:
            raise SystemExit(f"{self._path} is the recording of another grid. Remove it, or choose another file.")
        for line in lines:
            row = Row(**json.loads(line))
            self.rows[row.number] = row
        self._path.write_text(whole + "\n", encoding="utf-8")

    @contextmanager
    def appending(self) -> Iterator["Appending"]:
        """Open the file for further rows."""
        with open(self._path, "a", encoding="utf-8") as stream:
            yield Appending(self.rows, stream)


class Appending:
    """An open file of rows. Each row is flushed, so that it survives the end of the process."""

    def __init__(self, rows: dict[int, Row], stream: Any) -> None:
        self._rows = rows
        self._stream = stream

    def add(self, row: Row) -> None:
        """Append a row."""
        self._rows[row.number] = row
        self._stream.write(json.dumps(asdict(row)) + "\n")
        self._stream.flush()
