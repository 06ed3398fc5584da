"""A command in the test's own process: for one that trains nothing, or a tiny model for which no signal is sent.

A process of its own would take seconds of processor time to import Keras, and little else.
"""

import contextlib
import signal
import time
from collections.abc import Iterator

import keras_tuner  # noqa: F401  (whole: a command would import it without what it does not need, for all tests)

from tests.integration.support import Done, Place
from tests.support.command_line import run_in_process


def do_here(place: Place, *arguments: str, **environment: str) -> Done:
    """Run `cifake-tune` to its end in this process, on the backend that is imported here."""
    variables = {key: value for key, value in place.environment.items() if key != "KERAS_BACKEND"}
    began, cpu_s = time.monotonic(), time.process_time()
    with _kept_signals(), contextlib.chdir(place.folder):
        done = run_in_process(*arguments, environment=variables | environment)
    return Done(done.code, done.out, done.err, time.monotonic() - began, time.process_time() - cpu_s)


@contextlib.contextmanager
def _kept_signals() -> Iterator[None]:
    """Give back what a worker takes: SIGINT's handler, and the descriptor that its thread listens to."""
    handler, woken = signal.getsignal(signal.SIGINT), signal.set_wakeup_fd(-1)
    try:
        yield
    finally:
        signal.set_wakeup_fd(woken)
        signal.signal(signal.SIGINT, handler)
