"""Child processes that run a piece of Python with this repository on their path, to be raced or killed."""

import contextlib
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import AnyStr

_ROOT = Path(__file__).parents[2]


@contextlib.contextmanager
def child(code: str, *arguments: str, prefix: tuple[str, ...] = ()) -> Iterator[subprocess.Popen[str]]:
    """Run `code` with `arguments` as its sys.argv[1:]; at the end it is killed if it still runs.

    Its stdin, stdout and stderr are pipes; `prefix` is a command to run it under.
    """
    path = os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH", "")]))
    process = subprocess.Popen(
        [*prefix, sys.executable, "-c", textwrap.dedent(code), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": path},
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


@contextlib.contextmanager
def ending(process: subprocess.Popen[AnyStr]) -> Iterator[subprocess.Popen[AnyStr]]:
    """Ask a process to end at the end, and kill it where it does not."""
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def output_of(code: str, *arguments: str, prefix: tuple[str, ...] = (), timeout_s: float = 60.0) -> str:
    """Run `code` to its end and return what it printed; what it wrote to stderr is the failure's message."""
    with child(code, *arguments, prefix=prefix) as process:
        out, err = process.communicate(timeout=timeout_s)
        assert process.returncode == 0, err
        return out
