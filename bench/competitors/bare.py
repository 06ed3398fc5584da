"""Bare Keras Tuner's distributed search, as benchmarks start it: `bare_search.py`, in a folder of its own."""

import contextlib
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from bench.competitors.processes import BATCH_SIZE, ROOT, VALIDATION, VALIDATION_SEED, Search, started


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

    def __init__(self, folder: Path, source: Path | None, search: Search) -> None:
        """Write what our workers train on, and are compared by, as arrays; `source` None is the built-in sample."""
        import numpy as np

        from tests.support.gcs_emulator import free_port
        from tuner.bucket import open_bucket
        from tuner.data.arrays import open_training
        from tuner.data.pack import pack

        bucket = open_bucket(str(folder / "data"))
        packed = pack(str(source) if source else None, bucket)
        data = open_training(bucket, packed, VALIDATION, VALIDATION_SEED, folder / "cache")
        np.savez(
            folder / "arrays.npz",
            x=data.train.images,
            y=data.train.labels,
            x_held=data.validation.images,
            y_held=data.validation.labels,
        )
        self._folder = folder
        self._command = [sys.executable, str(ROOT / "bench" / "sides" / "bare_search.py"), str(folder)]
        self._command += map(str, (search.seed, search.trials, search.epochs, BATCH_SIZE))
        self._address = {"KERASTUNER_ORACLE_IP": "127.0.0.1", "KERASTUNER_ORACLE_PORT": str(free_port())}

    def process(self, tuner_id: str) -> contextlib.AbstractContextManager[subprocess.Popen[str]]:
        """Start the chief, or a worker."""
        return started(self._command, self._folder, {**self._address, "KERASTUNER_TUNER_ID": tuner_id})

    def ended(self) -> list[Ended]:
        """Return the epochs that have ended, in their order."""
        file = self._folder / "epochs"
        lines = [line.split() for line in file.read_text().splitlines()] if file.exists() else []
        return [Ended(float(at), float(right), worker, int(epoch)) for at, right, worker, epoch in lines]
