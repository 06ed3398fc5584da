"""Errors of Python that have their cause in the environment of the process, as sentences."""

import errno
import os

from tuner.errors import CifakeTuneError, EnvironmentFailure, UsageError

_MEMORY = (
    "this process ran out of memory. Raise its limit (`ulimit -v`, or the container's memory limit), or free some "
    "memory."
)
_REMEDIES = {
    errno.EMFILE: "Raise the limit on open files (`ulimit -n`); 1024 is enough.",
    errno.ENFILE: "Close some programs, because this machine has no more open files.",
    errno.ENOSPC: "Free some disk space, or use another disk.",
    errno.EDQUOT: "Free some of your disk quota, or use another disk.",
    errno.EROFS: "Use a folder on a file system that is not read-only.",
    errno.EACCES: "Check the permissions of the file or folder.",
    errno.EPERM: "Check the permissions of the file or folder.",
    errno.EAGAIN: "Raise the limit on processes (`ulimit -u`), or close some programs.",
    errno.EIO: "Check the disk.",
    errno.ENOTDIR: "Check the path.",
    errno.ENAMETOOLONG: "Use a shorter path.",
    errno.ELOOP: "Check the path for symbolic links that point to each other.",
}


def explain(error: BaseException) -> CifakeTuneError | None:
    """Return an error with a sentence if the environment caused `error`, or None if that is not known."""
    if isinstance(error, MemoryError) or "cannot allocate memory" in str(error).lower():
        return EnvironmentFailure(_MEMORY)
    if "failed to map segment from shared object" in str(error):  # an ImportError: a library does not fit
        return EnvironmentFailure(_MEMORY)
    if isinstance(error, RuntimeError) and "can't start new thread" in str(error):
        return EnvironmentFailure(
            "the system refused to start a thread. Raise the limits on memory (`ulimit -v`) and on processes "
            "(`ulimit -u`)."
        )
    if isinstance(error, FileNotFoundError) and not _has_working_directory():
        return UsageError(
            "the working directory no longer exists. Change to another folder, and run the command again."
        )
    if isinstance(error, OSError) and error.errno in _REMEDIES:
        where = f" {error.filename}:" if error.filename is not None else ""
        return EnvironmentFailure(
            f"the operating system refused an operation:{where} {error.strerror or error}. {_REMEDIES[error.errno]}"
        )
    return None


def _has_working_directory() -> bool:
    try:
        os.getcwd()
    except OSError:
        return False
    return True
