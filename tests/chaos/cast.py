"""The processes of a chaos run: real `cifake-tune chief` and `cifake-tune worker`, and what was done to each."""

import os
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos.evidence import Exit, Role
from tests.integration.support import FASTEST_BACKEND, JAX_ENVIRONMENT, python_with

READY = {Role.CHIEF: b"listens on port", Role.WORKER: b"joins study"}
"""What a process says when it has come so far that it can be missed."""


@dataclass
class Process:
    """One process, from its start to its end."""

    name: str
    role: Role
    popen: subprocess.Popen[bytes]
    log: Path
    port: int = 0
    """Where a chief listens."""
    killed: bool = False
    terminated: bool = False
    replaced: bool = False
    frozen: bool = False
    late: bool = False
    _came: bool = False
    """It has said that it is at work."""

    @property
    def ready(self) -> bool:
        """Whether it is at work, and not frozen."""
        self._came = self._came or READY[self.role] in self.log.read_bytes()
        return self._came and not self.frozen

    def kill(self) -> None:
        """Send SIGKILL."""
        self.killed = True
        self.popen.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.terminated = True
        self.popen.send_signal(signal.SIGTERM)

    def freeze(self) -> None:
        """Send SIGSTOP."""
        self.frozen = True
        self.popen.send_signal(signal.SIGSTOP)

    def wake(self) -> None:
        """Send SIGCONT."""
        self.frozen = False
        self.popen.send_signal(signal.SIGCONT)

    def exit(self) -> Exit | None:
        """Return how it ended; None while it runs."""
        code = self.popen.poll()
        if code is None:
            return None
        # as a shell says it; a worker stopped before it can catch SIGTERM has nothing to save
        code = code if code >= 0 else 128 - code
        return Exit(self.name, self.role, code, self.killed, self.terminated, self.replaced, self.late)


@dataclass
class Cast:
    """Starts processes, and knows which of them live."""

    environment: Mapping[str, str]
    logs: Path
    living: list[Process] = field(default_factory=list)
    exits: list[Exit] = field(default_factory=list)
    _started: int = 0

    def start(self, name: str, role: Role, port: int = 0, **environment: str) -> Process:
        """Start a process; its output goes to a log of its own."""
        self._started += 1
        log = self.logs / f"{self._started:04d}-{name}.log"
        with log.open("wb") as out:
            popen = subprocess.Popen(
                [python_with(FASTEST_BACKEND), "-m", "cifake_tune", role.value],
                env={**self.environment, **environment},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
            )
        process = Process(name, role, popen, log, port)
        self.living.append(process)
        return process

    def of(self, role: Role) -> list[Process]:
        """Return those that live, oldest first."""
        return [process for process in self.living if process.role is role]

    def take_leave(self) -> list[Process]:
        """Return those that have ended since the last call."""
        ended = []
        for process in list(self.living):
            exit_ = process.exit()
            if exit_ is not None:
                self.living.remove(process)
                self.exits.append(exit_)
                ended.append(process)
        return ended

    def end(self) -> None:
        """Kill what still runs: it did not end by itself, which its exit code will say."""
        for process in self.living:
            process.popen.kill()
            process.popen.wait()
        self.take_leave()


def inherited() -> dict[str, str]:
    """Return our environment without what belongs to another study, and this repository on Python's path."""
    ours = ("CIFAKE_TUNE_", "KERASTUNER_", "CHAOS_", "PYTHONDONTWRITEBYTECODE")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(ours)}
    root = str(Path(__file__).parents[2])
    backend = JAX_ENVIRONMENT | {"KERAS_BACKEND": FASTEST_BACKEND}
    return kept | backend | {"PYTHONPATH": os.pathsep.join(filter(None, [root, kept.get("PYTHONPATH", "")]))}
