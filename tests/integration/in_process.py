"""A command in the test's own process: for one that ends with a sentence before it starts or trains anything.

A process of its own would take seconds of processor time to import Keras, and nothing else.
"""

import logging
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import NoReturn

import keras_tuner  # noqa: F401  (whole: a command would import it without what it does not need, for all tests)
import pytest

from tests.integration.support import Done, Place
from tuner.cli.app import main


def do_here(place: Place, *arguments: str, **environment: str) -> Done:
    """Run `cifake-tune` to its end in this process, which keeps its environment, its signals and its log."""
    place.commands += 1
    out, err = (place.folder / f"command-{place.commands}.{stream}" for stream in ("out", "err"))
    began, cpu_s = time.monotonic(), time.process_time()
    with pytest.MonkeyPatch.context() as patch, _kept_signals(), _kept_log():
        for variable in os.environ.keys() - place.environment.keys() - {"KERAS_BACKEND"}:
            patch.delenv(variable)
        for variable, value in (place.environment | environment).items():
            if variable != "KERAS_BACKEND":  # ours is imported
                patch.setenv(variable, value)
        patch.setattr(sys, "argv", ["cifake-tune", *arguments])
        patch.setattr(os, "_exit", _exit)
        patch.chdir(place.folder)
        with out.open("w") as stdout, err.open("w") as stderr, redirect_stdout(stdout), redirect_stderr(stderr):
            try:
                main()
            except SystemExit as ended:
                code = ended.code
    assert isinstance(code, int)
    return Done(code, out.read_text(), err.read_text(), time.monotonic() - began, time.process_time() - cpu_s)


def _exit(code: int) -> NoReturn:
    raise SystemExit(code)


@contextmanager
def _kept_signals() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    woken = signal.set_wakeup_fd(-1)
    try:
        yield
    finally:
        signal.set_wakeup_fd(woken)
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _kept_log() -> Iterator[None]:
    loggers = [logging.getLogger(), logging.getLogger("tuner")]
    before = [(logger, logger.level, list(logger.handlers)) for logger in loggers]
    try:
        yield
    finally:
        for logger, level, handlers in before:
            logger.setLevel(level)
            logger.handlers[:] = handlers
