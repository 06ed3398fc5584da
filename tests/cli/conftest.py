"""The command line within this process; its handlers are removed after the test."""

import logging
import signal
from collections.abc import Callable, Iterator

import pytest

from tuner.cli.app import run_command


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., int]]:
    """Return a function that runs a command with its arguments, and returns its exit code."""
    for variable in ("KERASTUNER_ORACLE_IP", "KERASTUNER_ORACLE_PORT", "KERASTUNER_TUNER_ID"):
        monkeypatch.delenv(variable, raising=False)
    root, ours = logging.getLogger(), logging.getLogger("tuner")
    handlers, levels = list(root.handlers), (root.level, ours.level)
    sigterm = signal.getsignal(signal.SIGTERM)
    yield lambda *arguments: run_command(list(arguments))
    signal.signal(signal.SIGTERM, sigterm)
    root.handlers[:] = handlers
    root.setLevel(levels[0])
    ours.setLevel(levels[1])
