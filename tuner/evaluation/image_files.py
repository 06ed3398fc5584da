"""Finds the image files that a user names, reads them within limits, and decodes them to the model's input."""

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tuner.data.decode import Conversion, decode, format_of, read_header
from tuner.data.source import MAX_FILE_BYTES, is_junk
from tuner.errors import DataError
from tuner.evaluation.input_checks import FORMATS, input_warnings
from tuner.evaluation.result import TrainingProfile


@dataclass(frozen=True)
class Unusable:
    """A file or folder that cannot be used, and the reason."""

    path: Path
    reason: str
    """A sentence without its subject: `is empty`."""


@dataclass(frozen=True)
class Readable:
    """An image in the form of the model's input."""

    path: Path
    pixels: NDArray[np.uint8]
    """(height, width, 3)"""

    warnings: tuple[str, ...]
    """How the image differs from the training images. Also empty if the training images are unknown."""


def find(paths: Sequence[Path]) -> Iterator[Path | Unusable]:
    """Yield the given files, and the files in the given folders that have the suffix of an image, sorted by name.

    Links to folders within folders are not followed because they may lead anywhere, even in circles.
    """
    for path in paths:
        if not path.is_dir():
            yield path
            continue
        count = 0
        unread: list[OSError] = []
        for folder, below, files in os.walk(path, onerror=unread.append):
            yield from map(_unread, unread)
            count += len(unread)
            unread.clear()
            below[:] = sorted(each for each in below if not is_junk(each))
            for name in sorted(files):
                if Path(name).suffix.lower() in FORMATS and not is_junk(name):
                    count += 1
                    yield Path(folder, name)
        yield from map(_unread, unread)
        if not count and not unread:
            suffixes = ", ".join(suffix.removeprefix(".") for suffix in FORMATS)
            yield Unusable(path, f"is a folder without images ({suffixes})")


def _unread(error: OSError) -> Unusable:
    return Unusable(Path(error.filename), f"is a folder that cannot be read ({error.strerror})")


def read(path: Path, height: int, width: int, profile: TrainingProfile | None) -> Readable | Unusable:
    """Return the image in a file, converted to RGB and resized."""
    try:
        data = _bytes_of(path)
        header = read_header(data)
        pixels = decode(data, Conversion(resize=(height, width), convert=True))
        return Readable(path, pixels, input_warnings(profile, header, format_of(data), pixels) if profile else ())
    except DataError as error:
        return Unusable(path, str(error))
    except (OSError, ValueError) as error:  # ValueError: a name with a zero byte in it
        return Unusable(path, f"cannot be read ({getattr(error, 'strerror', None) or error})")


def _bytes_of(path: Path) -> bytes:
    # checked before opening: opening a pipe blocks until another process writes to it
    if not stat.S_ISREG(path.stat().st_mode):
        raise DataError("is not a file")
    with path.open("rb") as stream:
        data = stream.read(MAX_FILE_BYTES + 1)
    if len(data) > MAX_FILE_BYTES:
        raise DataError(f"is larger than {MAX_FILE_BYTES >> 20} MiB, the limit for an image")
    return data
