"""Temporary files and folders, and a sentence where this machine has no room for them."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from tuner.errors import EnvironmentFailure


def temporary_file() -> IO[bytes]:
    """Return a file without a name, which is gone once it is closed. Raises EnvironmentFailure."""
    with _told(None):
        return tempfile.TemporaryFile()


def temporary_folder(inside: Path | None = None) -> "tempfile.TemporaryDirectory[str]":
    """Return a new folder, which is gone after its `with` block. Raises EnvironmentFailure."""
    with _told(inside):
        return tempfile.TemporaryDirectory(prefix="cifake-tune-", dir=inside)


@contextmanager
def _told(inside: Path | None) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        folder = inside or tempfile.tempdir  # None: Python has looked for one, and says where
        where = f" in {folder}" if folder else ""
        raise EnvironmentFailure(
            f"no temporary files can be made{where} ({error.strerror or error}); free some space there, or set TMPDIR "
            "to a folder that has some."
        ) from error
