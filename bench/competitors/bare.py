"""Bare Keras Tuner's distributed search, run by `bare_search.py` in a separate folder."""

import contextlib
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from bench.competitors.processes import BATCH_SIZE, ROOT, VALIDATION, VALIDATION_SEED, Search, started


@dataclass(frozen=True)
class EndedEpoch:
    """An epoch that has ended."""

    at: float
    """Time of its end, in seconds since 1970."""
    right: float
    """Validation accuracy."""
    worker: str
    epoch: int
    """Number of the epoch in its trial, from 0."""


class BareSearch:
    """A search in a folder: its data, its processes, and the epochs that have ended."""

    def __init__(self, folder: Path, source: Path | None, search: Search) -> None:
        """Write the same images as for cifake-tune as arrays; a `source` of None is the built-in sample."""
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
        self._command = [sys.executable, str(ROOT / "bench" / "competitors" / "bare_search.py"), str(folder)]
        self._command += map(str, (search.seed, search.trials, search.epochs, BATCH_SIZE))
        self._address = {"KERASTUNER_ORACLE_IP": "127.0.0.1", "KERASTUNER_ORACLE_PORT": str(free_port())}

    def process(self, tuner_id: str) -> contextlib.AbstractContextManager[subprocess.Popen[str]]:
        """Start the chief or a worker."""
        return started(self._command, self._folder, {**self._address, "KERASTUNER_TUNER_ID": tuner_id})

    def ended(self) -> list[EndedEpoch]:
        """Return the epochs that have ended, in the order of their ends."""
        file = self._folder / "epochs"
        lines = [line.split() for line in file.read_text().splitlines()] if file.exists() else []
        return [EndedEpoch(float(at), float(right), worker, int(epoch)) for at, right, worker, epoch in lines]
