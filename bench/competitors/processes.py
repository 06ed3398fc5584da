"""Processes of the benchmarks of a whole search, and the settings of cifake-tune's."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CHIEF, WORKERS = "chief", ("tuner0", "tuner1")
BATCH_SIZE = 64
VALIDATION, VALIDATION_SEED = 0.6, 1
"""Share of images held out, large enough for scores to distinguish models, and its seed, the same for all searches."""
POLL_S = 0.5
"""Seconds between two checks of the processes."""


@dataclass(frozen=True)
class Search:
    """A search of the published space, the same for both sides."""

    seed: int
    trials: int
    epochs: int


def our_settings(study: str, search: Search, more: Mapping[str, str] | None = None) -> list[str]:
    """Return the options of `cifake-tune` for a search that is compared with bare Keras Tuner's."""
    settings = {
        "name": study,
        "seed": search.seed,
        "data.validation": VALIDATION,
        "data.validation_seed": VALIDATION_SEED,
        "data.batch_size": BATCH_SIZE,
        "search.max_trials": search.trials,
        "training.epochs": search.epochs,
        **(more or {}),
    }
    return [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]


@contextlib.contextmanager
def started(command: list[str], folder: Path, environment: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """Start a process, and end it and its children at the end of the block."""
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
        for number in (signal.SIGTERM, signal.SIGKILL):  # cifake-tune has child processes, which end with it
            with contextlib.suppress(ProcessLookupError, subprocess.TimeoutExpired):
                os.killpg(process.pid, number)
                process.wait(30)


def wait(
    processes: list[subprocess.Popen[str]], limit_s: float, enough: Callable[[], bool] = lambda: False
) -> float | None:
    """Return the seconds until all processes have ended or `enough` is true; None if the limit is reached before."""
    began = time.monotonic()
    while (passed := time.monotonic() - began) < limit_s:
        if enough() or all(process.poll() is not None for process in processes):
            return passed
        time.sleep(POLL_S)
    return None
