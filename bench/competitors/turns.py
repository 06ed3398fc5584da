"""Training processes that take turns: they run `bench/competitors/train.py`."""

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
"""The middle of the space `seed`."""


@dataclass(frozen=True)
class Turn:
    """One training from the beginning."""

    loop: str = "ours"
    """`ours`, or as users of bare Keras Tuner write it: `plain` (`model.fit` on float32 arrays) or `tf.data`."""
    seed: int = 1
    images: int | None = None
    """Number of training images, chosen by the seed; None for all of them."""
    epochs: int = 1
    space: str = "seed"
    values: Mapping[str, Any] = field(default_factory=lambda: MIDDLE)
    precision: str | None = None
    """Precision; None for the space's own choice."""
    fused_norm: bool = True
    """Whether the space `deep` normalizes batches in one operation instead of with Keras's layer."""


@dataclass(frozen=True)
class Outcome:
    """Result of a turn: the rate of the first epoch after its first steps, and the peak memory of the process."""

    images_per_s: float
    accuracy: float
    peak_mib: float


class Process:
    """A process that trains one turn after the other; `place` is a folder set up by `prepare`."""

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
        """Start a turn."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(asdict(turn)) + "\n")
        self._process.stdin.flush()

    def end(self) -> Outcome:
        """Wait for the turn's outcome."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("a training process failed; run again with BENCH_DEBUG=1 for its errors")
        return Outcome(**json.loads(line))

    def train(self, turn: Turn) -> Outcome:
        """Run a turn and return its outcome."""
        self.begin(turn)
        return self.end()

    def __enter__(self) -> "Process":
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def prepare(place: Path) -> str:
    """Pack a data set into a folder and return its name: CIFAKE, or noise if CIFAKE does not exist."""
    if not (CIFAKE / "unpack").exists():
        return "noise"
    from tuner.bucket import open_bucket
    from tuner.data.pack import pack

    archive = place / "cifake.zip"
    subprocess.run([sys.executable, str(CIFAKE / "unpack"), str(archive)], check=True, stdout=subprocess.DEVNULL)
    (place / "digest").write_text(pack(str(archive), open_bucket(str(place / "bucket"))).digest)
    archive.unlink()
    return "CIFAKE"
