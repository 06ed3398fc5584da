"""Start the bucket's server on a folder, without what it left half-written when it was killed.

fake-gcs-server writes an object's file first and its metadata last, and answers no listing while a file has none.
Nobody has been told that such an object exists.

usage: python -m k8s.bucket_server BUCKET_FOLDER SERVER [ARGUMENT]...
"""

import errno
import os
import sys
from collections.abc import Iterator
from pathlib import Path

ATTRIBUTE = "user.metadata"
SUFFIX = ".metadata"


def main() -> None:
    """Clean the folder, and become the server."""
    folder, command = Path(sys.argv[1]), sys.argv[2:]
    folder.mkdir(parents=True, exist_ok=True)
    for path in half_written(folder, has_attributes(folder)):
        path.unlink()
        print(f"removed {path}: it was half-written when the server was killed", flush=True)  # noqa: T201
    os.execvp(command[0], command)  # noqa: S606  (as the chart says)


def has_attributes(folder: Path) -> bool:
    """Say whether the file system keeps extended attributes; where not, the server has a file beside the object's."""
    try:
        os.getxattr(folder, ATTRIBUTE)
    except OSError as error:
        return error.errno == errno.ENODATA
    return True


def half_written(folder: Path, attributes: bool) -> Iterator[Path]:
    """Yield the files that are no whole objects."""
    for path in folder.rglob("*"):
        if path.is_symlink() or not path.is_file():
            continue
        if attributes:
            whole = ATTRIBUTE in os.listxattr(path)
        elif path.name.endswith(SUFFIX):
            whole = path.with_name(path.name.removesuffix(SUFFIX)).exists()
        else:
            whole = path.with_name(path.name + SUFFIX).exists()
        if not whole:
            yield path


if __name__ == "__main__":
    main()
