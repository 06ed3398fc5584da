"""Processes that train and take turns: `bench/competitors/train.py`, as a benchmark starts and asks them."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
CIFAKE = Path(os.environ.get("CIFAKE_DIR", ROOT.parent / "shared" / "cifake"))
BATCH = 128
MIDDLE = {
    "filters": 60, "kernel_size": 3, "units_1": 500, "units_2": 500, "activation_1": "relu", "activation_2": "relu",
    "learning_rate": 1e-3, "optimizer": "adam",
}  # fmt: skip
"""Of the space `seed`."""


@dataclass(frozen=True)
class Turn:
    """What one process is to train once, from the beginning."""

    loop: str = "ours"
    """`ours`, or as a user of bare Keras Tuner writes it: `plain` (`model.fit` on float32 arrays) or `tf.data`."""
    seed: int = 1
    images: int | None = None
    """Drawn by the seed; None: all training images."""
    epochs: int = 1
    space: str = "seed"
    values: Mapping[str, Any] = field(default_factory=lambda: MIDDLE)
    precision: str | None = None
    """None: what the space chooses itself."""
    fused_norm: bool = True
    """Whether the space `deep` normalizes batches in one operation, or as Keras does."""


@dataclass(frozen=True)
class Outcome:
    """What came out. The rate is that of the first epoch, after its first steps; the memory is the process's peak."""

    images_per_s: float
    accuracy: float
    peak_mib: float


class Process:
    """A process that trains one turn after the other; its place is a folder that `prepare` was given."""

    def __init__(self, place: Path, environment: Mapping[str, str] | None = None) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.competitors.train", str(place)],
            env={**os.environ, "PYTHONPATH": str(ROOT), **(environment or {})},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=None if "BENCH_DEBUG" in os.environ else subprocess.DEVNULL,
            text=True,
        )

    def begin(self, turn: Turn) -> None:
        """Let it train."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(asdict(turn)) + "\n")
        self._process.stdin.flush()

    def end(self) -> Outcome:
        """Wait for what comes out."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("a process that trains has ended; BENCH_DEBUG=1 shows why")
        return Outcome(**json.loads(line))

    def train(self, turn: Turn) -> Outcome:
        """Let it train, and wait."""
        self.begin(turn)
        return self.end()

    def __enter__(self) -> "Process":
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def prepare(place: Path) -> str:
    """Put a packed data set into a folder, and return what it is: CIFAKE, or noise where that is not there."""
    if not (CIFAKE / "unpack").exists():
        return "noise"
    from tuner.bucket import open_bucket
    from tuner.data.pack import pack

    archive = place / "cifake.zip"
    subprocess.run([sys.executable, str(CIFAKE / "unpack"), str(archive)], check=True, stdout=subprocess.DEVNULL)
    (place / "digest").write_text(pack(str(archive), open_bucket(str(place / "bucket"))).digest)
    archive.unlink()
    return "CIFAKE"
