"""A worker process of a pod, whose output is forwarded line by line with its name."""

import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import IO

from tuner import names
from tuner.address import Address
from tuner.local.children import DEATHS, Child
from tuner.monitoring.log_format import LogFormat

LINE_BYTES = 64 * 1024
"""Longest line that is forwarded as a whole."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 2.0, 60.0
"""Seconds until a process that died is started again, which double with each death."""
WORKED_S = 600.0
"""Seconds after which a process that dies has done work, so that its earlier deaths no longer count."""
_NOT_INHERITED = (names.ENV_PROCESSES, names.ENV_QUIT_URL)
_writing = threading.Lock()


@dataclass
class PodProcess(Child):
    """A process that inherits the pod's environment, and is started again after a pause if it dies."""

    http: Address = field(default_factory=lambda: Address("127.0.0.1", 0))
    """Address of its health and metrics, inside the pod."""
    form: LogFormat = LogFormat.TEXT
    leaves: bool = False
    """Whether the process was asked to end for good."""
    was_killed: bool = False
    """Whether the process was killed because it hung."""
    _last: str = ""
    _began: float = 0.0
    _starts_at: float | None = None
    _longest_s: float = 0.0
    """Longest life of the process among its counted deaths."""

    def start(self) -> None:
        """Start the process. Must be called in the main thread, at whose end the kernel ends the process."""
        inherited = {name: value for name, value in os.environ.items() if name not in _NOT_INHERITED}
        own = {**self.environment, names.ENV_HTTP: str(self.http), names.ENV_PARENT: str(os.getpid())}
        self.process = subprocess.Popen(
            self.command,
            env={**inherited, **own},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self._began, self._starts_at, self.was_killed = time.monotonic(), None, False
        assert self.process.stdout is not None
        threading.Thread(target=self._forward, args=[self.process.stdout], name=self.name, daemon=True).start()

    def died(self) -> None:
        """Count a death, and plan the next start."""
        lived_s = time.monotonic() - self._began
        earlier = (0, 0.0) if lived_s >= WORKED_S else (self.deaths, self._longest_s)
        self.deaths, self._longest_s = earlier[0] + 1, max(earlier[1], lived_s)
        pause_s = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(self.deaths - 1, 10))
        self._starts_at = time.monotonic() + pause_s

    def start_if_due(self) -> None:
        """Start the process again if its pause is over."""
        if self._starts_at is not None and time.monotonic() >= self._starts_at:
            self.start()

    def kill(self) -> None:
        """Kill the process because it hangs."""
        if self.exit_code() is None:
            self.was_killed = True
            self.stop(signal.SIGKILL)

    @property
    def keeps_dying(self) -> bool:
        """Whether the process dies again and again. A process that lives on twice as long as ever before does not."""
        lives_on = self.exit_code() is None and time.monotonic() - self._began > 2 * self._longest_s
        return self.deaths >= DEATHS and not lives_on

    @property
    def is_pausing(self) -> bool:
        """Whether the process has died and is about to be started again."""
        return self._starts_at is not None

    def last_line(self) -> str:
        """Return the last line that the process has printed."""
        return self._last.removeprefix("error: ") or "none"

    def _forward(self, output: IO[bytes]) -> None:
        with output:
            while line := output.readline(LINE_BYTES):
                text = line.decode(errors="replace").rstrip("\n")
                self._last = text or self._last
                with _writing:
                    print(labelled(text, self.name, self.form), file=sys.stdout, flush=True)  # noqa: T201


def labelled(line: str, name: str, form: LogFormat) -> str:
    """Return a line of a process with the process's name: as the first key of a JSON object, else as a prefix."""
    if form is LogFormat.JSON and line.startswith("{"):
        return f'{{"worker": "{name}", {line[1:]}'
    return f"[{name}] {line}"
