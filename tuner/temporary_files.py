"""Temporary files and folders, and whether this machine has room for files, with clear errors."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from tuner.errors import EnvironmentFailure


def temporary_file() -> IO[bytes]:
    """Return an unnamed file, which is deleted when it is closed. Raises EnvironmentFailure."""
    with _explaining(None):
        return tempfile.TemporaryFile()


def temporary_folder(inside: Path | None = None) -> "tempfile.TemporaryDirectory[str]":
    """Return a new folder, which is deleted at the end of its `with` block. Raises EnvironmentFailure."""
    with _explaining(inside):
        return tempfile.TemporaryDirectory(prefix="cifake-tune-", dir=inside)


def shortage(folder: Path, needed: int, purpose: str) -> str:
    """Return that a folder has less than `needed` bytes of free space, as a clause; "" if it has enough."""
    free = shutil.disk_usage(folder).free
    return "" if free >= needed else f"{_mib(needed)} are needed {purpose}, and {_mib(free)} are free"


def _mib(size_bytes: int) -> str:
    return f"{size_bytes / (1 << 20):,.1f} MiB"


@contextmanager
def _explaining(inside: Path | None) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        folder = inside or tempfile.tempdir  # None if Python found no folder; its message lists those tried
        where = f" in {folder}" if folder else ""
        raise EnvironmentFailure(
            f"cannot create temporary files{where} ({error.strerror or error}). Free some disk space, or set TMPDIR to "
            "a folder with free space."
        ) from error
