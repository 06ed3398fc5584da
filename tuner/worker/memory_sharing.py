"""How many processes of a pod share its memory (`perGPU: auto`), and waiting until one of them has left.

The pod's supervisor writes the number into a file. It lets the newest process leave after an out-of-memory error.
"""

import contextlib
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from tuner import names

LEAVE_S = 60.0
"""Seconds within which a process should have left. The supervisor looks every 10 s, and processes end within 20 s."""
POLL_S = 0.1
"""Seconds between two looks at the file."""


def write_number(file: Path, processes: int) -> None:
    """Write the number of processes that share the memory. Raises OSError."""
    new = file.with_suffix(".new")
    new.write_text(str(processes), encoding="utf-8")
    new.replace(file)


def await_room(environment: Mapping[str, str], check: Callable[[], None], leave_s: float = LEAVE_S) -> str:
    """Wait until one of the processes that share the memory has left, for `leave_s` at most.

    Args:
        environment: Environment variables of this process.
        check: Called repeatedly; raises if this process must end.
        leave_s: Seconds after which this process continues in any case.

    Returns:
        How many processes shared the memory, as a clause; "" if none did.
    """
    file = environment.get(names.ENV_SHARING)
    if not file or (processes := _number(Path(file))) < 2:
        return ""
    deadline = time.monotonic() + leave_s
    while _number(Path(file)) >= processes and time.monotonic() < deadline:
        check()
        time.sleep(POLL_S)
    return f"{processes} processes shared the memory"


def _number(file: Path) -> int:
    with contextlib.suppress(OSError, ValueError):
        return int(file.read_text(encoding="utf-8"))
    return 1
