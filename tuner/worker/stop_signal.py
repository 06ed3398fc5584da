"""Handling of SIGTERM and Ctrl-C: a worker ends in time, whatever its main thread is doing.

Python runs a signal's handler in the main thread between two bytecodes, so it does not run during a step on the device,
a compilation or a blocked call. Therefore a second thread receives the signal, too. If the main thread does not end
soon, the second thread returns the trial to the chief instead and ends the process.
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
"""Seconds within which the main thread should end by itself."""
END_S = 17.0
"""Seconds after which the process ends in any case. It must end within 20 s, also on a busy machine."""
_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StopSignal:
    """Records whether the process was asked to stop. Create it in the main thread, and call `finish` at the end."""

    def __init__(self) -> None:
        self._received = threading.Event()
        self._finished = threading.Event()
        self._interrupting = False
        self._last_will: Callable[[], bool] | None = None
        self._heard, woken = socket.socketpair()
        woken.setblocking(False)
        self._woken = woken  # the descriptor must outlive this object
        signal.set_wakeup_fd(woken.fileno(), warn_on_full_buffer=False)
        for number in _SIGNALS:
            signal.signal(number, self._handle)
        threading.Thread(target=self._listen, name="stop", daemon=True).start()

    def check(self) -> None:
        """Raise PreemptedError if the signal was received."""
        if self._received.is_set():
            raise PreemptedError(
                "the worker was asked to stop. Any trial that it was training resumes after the last completed epoch."
            )

    @contextmanager
    def interrupting(self) -> Iterator[None]:
        """Let the signal raise PreemptedError anywhere in this block, because the block does not call `check`."""
        self._interrupting = True
        try:
            self.check()
            yield
        finally:
            self._interrupting = False

    @contextmanager
    def last_will(self, will: Callable[[], bool]) -> Iterator[None]:
        """Call `will` from the second thread if this block does not end in time after the signal.

        If `will` returns True, it did the work and the process ends. If it returns False, the main thread did the work
        and ends the process itself.
        """
        self._last_will = will
        try:
            yield
        finally:
            self._last_will = None

    def finish(self) -> None:
        """Declare that the main thread is about to end the process itself."""
        self._finished.set()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self._received.set()
        if self._interrupting:
            self._interrupting = False
            self.check()

    def _listen(self) -> None:
        while not set(self._heard.recv(64)) & set(_SIGNALS):
            pass  # another signal
        self._received.set()
        timer = threading.Timer(END_S, self._end)
        timer.daemon = True
        timer.start()
        if not self._finished.wait(UNWIND_S) and (will := self._last_will) is not None and will():
            self._end()

    @staticmethod
    def _end() -> None:
        print("error: the worker was asked to stop, did not end in time, and was terminated.", file=sys.stderr)  # noqa: T201
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(ExitCode.PREEMPTED)
