"""Run a command in this process, by the code path of `main`: its exit code, and what it prints to both streams.

For tests of what a command answers. What belongs to a process (signals, broken pipes, exits in the middle of a call,
which modules are loaded) needs a real one.
"""

import contextlib
import io
import logging
import os
import signal
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from unittest.mock import patch

from tuner.cli.app import run_command


@dataclass(frozen=True)
class Finished:
    """A command that has ended."""

    code: int
    out: str
    err: str


def run_in_process(*arguments: object, environment: Mapping[str, str] | None = None) -> Finished:
    """Run `cifake-tune` with these arguments, and with these variables added to the environment.

    The variables of cifake-tune and Keras Tuner come from `environment` only: those of the shell that runs the tests
    would choose another bucket or study.
    """
    ours = ("CIFAKE_TUNE_", "KERASTUNER_")
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(ours)}
    out, err = io.StringIO(), io.StringIO()
    with (
        patch.dict(os.environ, {**inherited, **(environment or {})}, clear=True),
        _process_state(),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        code = int(run_command([str(argument) for argument in arguments]))
    return Finished(code, out.getvalue(), err.getvalue())


@contextlib.contextmanager
def _process_state() -> Iterator[None]:
    """Give back what a command sets for its process: the handler of SIGTERM, and its log."""
    handler = signal.getsignal(signal.SIGTERM)
    root, ours = logging.getLogger(), logging.getLogger("tuner")
    handlers, levels = root.handlers[:], (root.level, ours.level)
    root.handlers.clear()
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(levels[0])
        ours.setLevel(levels[1])
        logging.captureWarnings(False)
        signal.signal(signal.SIGTERM, handler)
