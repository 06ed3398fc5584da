"""The folder into which something is exported."""

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tuner.errors import UsageError


@contextlib.contextmanager
def exported_folder(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder, which becomes `folder` if the block ends without an error.

    Raises UsageError if `folder` exists and is not an empty folder, or cannot be created.
    """
    folder = folder.expanduser().absolute()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} exists already. Choose another folder, or delete it first.")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    except OSError as error:
        raise _unwritable(folder, error) from None
    try:
        scratch.chmod(0o755)  # `mkdtemp` gives it to this user only
        yield scratch
        scratch.replace(folder)
    except OSError as error:
        raise _unwritable(folder, error) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _unwritable(folder: Path, error: OSError) -> UsageError:
    return UsageError(f"{folder} cannot be written ({error.strerror or error}). Choose another folder.")
