"""Bare Keras Tuner's distributed search as benchmarks start it: `bench/sides/bare_search.py`, in its own folder."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CHIEF, WORKERS = "chief", ("tuner0", "tuner1")
BATCH_SIZE, VALIDATION = 128, 0.3
POLL_S = 0.5


@dataclass(frozen=True)
class Ended:
    """An epoch that has ended."""

    at: float
    """Seconds since 1970."""
    right: float
    """The share of held-out images."""
    worker: str
    epoch: int
    """Of its trial, from 0."""


class BareSearch:
    """A search in a folder: what it trains on, its processes, and the epochs that have ended."""

    def __init__(self, folder: Path, source: Path | None, seed: int, trials: int, epochs: int) -> None:
        """Write what our workers train on, and are compared by, as arrays; `source` None is the built-in sample."""
        import numpy as np

        from tests.support.gcs_emulator import free_port
        from tuner.bucket import open_bucket
        from tuner.data.arrays import open_training
        from tuner.data.pack import pack

        bucket = open_bucket(str(folder / "data"))
        data = open_training(bucket, pack(source and str(source), bucket), VALIDATION, seed, folder / "cache")
        np.savez(
            folder / "arrays.npz",
            x=data.train.images,
            y=data.train.labels,
            x_held=data.validation.images,
            y_held=data.validation.labels,
        )
        self._folder = folder
        self._command = [sys.executable, str(ROOT / "bench" / "sides" / "bare_search.py"), str(folder)]
        self._command += map(str, (seed, trials, epochs, BATCH_SIZE))
        self._address = {"KERASTUNER_ORACLE_IP": "127.0.0.1", "KERASTUNER_ORACLE_PORT": str(free_port())}

    def process(self, tuner_id: str) -> contextlib.AbstractContextManager[subprocess.Popen[str]]:
        """Start the chief, or a worker."""
        return started(self._command, self._folder, {**self._address, "KERASTUNER_TUNER_ID": tuner_id})

    def ended(self) -> list[Ended]:
        """Return the epochs that have ended, in their order."""
        file = self._folder / "epochs"
        lines = [line.split() for line in file.read_text().splitlines()] if file.exists() else []
        return [Ended(float(at), float(right), worker, int(epoch)) for at, right, worker, epoch in lines]


@contextlib.contextmanager
def started(command: list[str], folder: Path, environment: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """Start a process; at the end, end it and its children."""
    with (folder / "errors").open("a") as errors:
        process = subprocess.Popen(
            command,
            env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
            cwd=folder,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            text=True,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        for number in (signal.SIGTERM, signal.SIGKILL):  # ours has children, which end with it
            with contextlib.suppress(ProcessLookupError, subprocess.TimeoutExpired):
                os.killpg(process.pid, number)
                process.wait(30)


def wait(
    processes: list[subprocess.Popen[str]], limit_s: float, enough: Callable[[], bool] = lambda: False
) -> float | None:
    """Return after how many seconds all processes had ended, or it was enough; None where it takes longer."""
    began = time.monotonic()
    while (passed := time.monotonic() - began) < limit_s:
        if enough() or all(process.poll() is not None for process in processes):
            return passed
        time.sleep(POLL_S)
    return None
