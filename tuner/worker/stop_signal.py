"""SIGTERM and Ctrl-C: a worker ends in time, whatever its main thread is in the midst of.

Python runs a signal's handler in the main thread, between two bytecodes: not during a step on the device, a compilation
or a call that hangs. So a thread of its own hears of the signal, too. Where the main thread does not come to its end
soon, that thread hands the trial back in its place, and ends the process.
"""

import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from tuner.errors import ExitCode, PreemptedError

UNWIND_S = 3.0
"""The main thread gets so long to come to the end of its step by itself."""
END_S = 17.0
"""After so long the process ends, whatever it waits for: of the 20 s that it may take, some are the machine's."""
_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StopSignal:
    """Whether the process was asked to stop. Make one in the main thread, and call `over` when all is done."""

    def __init__(self) -> None:
        self._received = threading.Event()
        self._over = threading.Event()
        self._interrupting = False
        self._last_will: Callable[[], bool] | None = None
        self._heard, woken = socket.socketpair()
        woken.setblocking(False)
        self._woken = woken  # the descriptor must outlive us
        signal.set_wakeup_fd(woken.fileno(), warn_on_full_buffer=False)
        for number in _SIGNALS:
            signal.signal(number, self._handle)
        threading.Thread(target=self._listen, name="stop", daemon=True).start()

    def check(self) -> None:
        """Raise PreemptedError where the signal has come."""
        if self._received.is_set():
            raise PreemptedError("the worker was asked to stop; its trial goes on elsewhere, from its last epoch.")

    @contextmanager
    def interrupting(self) -> Iterator[None]:
        """Let the signal raise PreemptedError in the midst of this block, which nobody else would have called off."""
        self._interrupting = True
        try:
            self.check()
            yield
        finally:
            self._interrupting = False

    @contextmanager
    def last_will(self, will: Callable[[], bool]) -> Iterator[None]:
        """Have `will` called by the thread where this block does not end in time after the signal.

        It returns whether it did what was to be done: else the main thread has, and ends the process itself.
        """
        self._last_will = will
        try:
            yield
        finally:
            self._last_will = None

    def over(self) -> None:
        """The main thread is about to end the process itself."""
        self._over.set()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self._received.set()
        if self._interrupting:
            self._interrupting = False
            self.check()

    def _listen(self) -> None:
        while not set(self._heard.recv(64)) & set(_SIGNALS):
            pass  # another signal's handler was called
        self._received.set()
        timer = threading.Timer(END_S, self._end)
        timer.daemon = True
        timer.start()
        if not self._over.wait(UNWIND_S) and (will := self._last_will) is not None and will():
            self._end()

    @staticmethod
    def _end() -> None:
        print("error: the worker was asked to stop, and was ended in the midst of what it did.", file=sys.stderr)  # noqa: T201
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(ExitCode.PREEMPTED)
