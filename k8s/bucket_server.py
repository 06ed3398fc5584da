"""Remove objects that were half-written when the bucket's server was killed, then start the server.

fake-gcs-server writes an object's file first and its metadata last, and fails to list the bucket while a file has no
metadata. Removing such a file is safe, because its writer has not received a response yet.

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
    """Remove half-written objects from the folder, then replace this process with the server."""
    folder, command = Path(sys.argv[1]), sys.argv[2:]
    folder.mkdir(parents=True, exist_ok=True)
    for path in half_written(folder, has_attributes(folder)):
        path.unlink()
        print(f"removed {path}, which was half-written when the server was killed", flush=True)  # noqa: T201
    os.execvp(command[0], command)  # noqa: S606  (the command comes from the chart)


def has_attributes(folder: Path) -> bool:
    """Return whether the file system supports extended attributes.

    If it does not, the server writes the metadata of an object to a separate file.
    """
    try:
        os.getxattr(folder, ATTRIBUTE)
    except OSError as error:
        return error.errno == errno.ENODATA
    return True


def half_written(folder: Path, attributes: bool) -> Iterator[Path]:
    """Yield the files of incomplete objects."""
    for path in folder.rglob("*"):
        if path.is_symlink() or not path.is_file():
            continue
        if attributes:
            complete = ATTRIBUTE in os.listxattr(path)
        elif path.name.endswith(SUFFIX):
            complete = path.with_name(path.name.removesuffix(SUFFIX)).exists()
        else:
            complete = path.with_name(path.name + SUFFIX).exists()
        if not complete:
            yield path


if __name__ == "__main__":
    main()
