"""Train trials that differ only by their learning rate, and print when the first step of each ended; needs JAX.

The trials have the same seed and shapes, and two epochs. Without `--resume`, both are interrupted after their first
epoch. With it, this process resumes the first one from its checkpoint in FOLDER.

usage: python -m bench.competitors.first_steps FOLDER LIMIT_MB SPACE [--resume]
"""

import contextlib
import json
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import keras
import keras_tuner
import numpy as np

from tuner.data.arrays import Arrays, TrainingData
from tuner.spaces import deep, seed
from tuner.training.compilation_cache import keep_compiled
from tuner.training.loop import Task, train

BATCH = 16
RATES = (1e-3, 2e-3)
SPACES = {"seed": seed.SeedSpace, "deep": deep.DeepSpace}
REQUESTED, LOADED = (f"/jax/compilation_cache/{event}" for event in ("compile_requests_use_cache", "cache_hits"))


@dataclass
class FirstStep:
    """When a trial's first step ended, and what was compiled for the trial."""

    seconds: float
    """Seconds from the start of the trial, before its model is built, to the end of its first step."""
    cpu_s: float
    """Processor seconds in this time, which other processes of the machine affect less."""
    compiled: int
    """Number of programs that were compiled until the trial ended."""
    loaded: int
    """Number of programs that were compiled by an earlier trial, and loaded."""
    metrics: dict[str, float]
    """Metrics of the last epoch."""


class Observer:
    """The worker's observer: notes the end of the first step, and saves the model."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._began, self._cpu_began = time.perf_counter(), time.process_time()
        self.took_s = self.cpu_s = 0.0
        self.metrics: dict[str, float] = {}

    def check(self) -> None:
        if not self.took_s:
            self.took_s, self.cpu_s = time.perf_counter() - self._began, time.process_time() - self._cpu_began

    def progress(self, epoch: int, share: float, images_per_s: float) -> None:
        """Do nothing."""

    def epoch_done(
        self, epoch: int, metrics: dict[str, float], model: keras.Model, returned: bool = False, named: bool = False
    ) -> None:
        self.metrics = metrics
        model.save(self._file)
        if epoch == 0:
            raise TrialInterruptedError


class TrialInterruptedError(Exception):
    """Ends a trial after its first epoch."""


def main() -> None:
    """Train, and print a line of JSON for each trial."""
    from jax import monitoring

    events: Counter[str] = Counter()
    monitoring.register_event_listener(lambda event, **_: events.update([event]))
    folder, limit_mb, space, resumes = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3], "--resume" in sys.argv
    if limit_mb:
        assert keep_compiled(folder, limit_mb * 1_000_000), "JAX_COMPILATION_CACHE_DIR is set"
    for rate in RATES[:1] if resumes else RATES:
        events.clear()
        step = trained(SPACES[space](), rate, folder / f"{space}-{limit_mb}-{rate}.keras", resumes)
        step.loaded = events[LOADED]
        step.compiled = events[REQUESTED] - step.loaded
        print(json.dumps(asdict(step)), flush=True)


def trained(space: keras_tuner.HyperModel, rate: float, file: Path, resumes: bool) -> FirstStep:
    """Train an epoch."""
    hyperparameters = keras_tuner.HyperParameters()
    hyperparameters.values["learning_rate"] = rate
    more: dict[str, Any] = {}
    if resumes:
        more = {"first_epoch": 1, "model_file": file, "history": {0: {"val_accuracy": 0.5}}}
    task = Task(hyperparameters, seed=1, batch_size=BATCH, epochs=2, **more)
    observer = Observer(file)
    with contextlib.suppress(TrialInterruptedError):
        train(space, task, data(), observer)
    return FirstStep(observer.took_s, observer.cpu_s, 0, 0, observer.metrics)


def data() -> TrainingData:
    """Return noise."""
    images = np.random.default_rng(0).integers(0, 256, (3 * BATCH, 32, 32, 3), dtype=np.uint8)
    arrays = Arrays(images, (np.arange(len(images)) % 2).astype(np.uint8))
    return TrainingData(arrays, arrays)


if __name__ == "__main__":
    main()
