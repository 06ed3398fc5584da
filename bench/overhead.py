"""Overhead of a worker: an attempt compared with building, compiling and fitting the same model directly.

One process alternates between two tasks. The first is a trial of a real chief (`cifake-tune chief` on loopback with a
folder as the bucket), from the request for it to the chief's confirmation of its end, with a checkpoint saved, uploaded
and reported. The second calls `build`, `compile` and `fit` of the same model directly, after `clear_session` as in
Keras Tuner. The model computes nothing.

usage: python bench/overhead.py [--trials 200] [--json bench/results/overhead.json]
"""

import argparse
import cProfile
import gc
import json
import os
import pstats
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tuner.worker.context import WorkerContext

WARM_TRIALS = 10
"""Number of trials before the measurement starts."""
HERE = Path(__file__).resolve().parent
PARTS = ("next_trial", "clear_session", "verified", "save_model", "settle", "complete")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--json", type=Path, default=Path("bench/results/overhead.json"))
    parser.add_argument("--profile", action="store_true", help="print where our side spends its time")
    arguments = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
    profiler = cProfile.Profile() if arguments.profile else None
    with tempfile.TemporaryDirectory() as folder, running_chief(Path(folder), arguments.trials + WARM_TRIALS) as port:
        pairs = measure(Path(folder), port, arguments.trials, profiler)
    if profiler is not None:
        pstats.Stats(profiler).sort_stats("cumulative").print_stats(45)
    result = summary(pairs)
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps(result, indent=2) + "\n")
    show(result)


@contextmanager
def running_chief(folder: Path, trials: int) -> Iterator[int]:
    """Pack the sample, run a chief with this number of trials, and yield its port."""
    from tuner import names
    from tuner.bucket import open_bucket
    from tuner.data.pack import pack

    pack(None, open_bucket(str(folder / "bucket")))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = [
        f"search.max_trials={trials}",
        "training.epochs=1",
        "space.import=noop_space:NoOp",
        "search.objective=val_score",
        "search.direction=max",
        f"space.code={HERE}",
    ]
    command = [sys.executable, "-m", "cifake_tune", "chief", *(word for item in settings for word in ("--set", item))]
    environment = {
        **os.environ,
        "PYTHONPATH": str(HERE.parent),
        names.ENV_BUCKET: str(folder / "bucket"),
        names.ENV_ORACLE_IP: "127.0.0.1",
        names.ENV_ORACLE_PORT: str(port),
        names.ENV_TUNER_ID: "chief",
    }
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    try:
        yield port
    finally:
        process.terminate()
        process.wait()


@dataclass
class Turn:
    """One side of a pair: wall time, processor time of all threads, and parts of the wall time, in seconds."""

    wall_s: float = 0.0
    cpu_s: float = 0.0
    parts_s: dict[str, float] = field(default_factory=dict)


@dataclass
class Pair:
    """Two consecutive turns, one of each side."""

    ours: Turn
    plain: Turn


class Stopwatch:
    """Sums up the time spent in the wrapped functions."""

    def __init__(self) -> None:
        self.parts_s: dict[str, float] = {}

    def around(self, owner: Any, name: str) -> None:
        """Wrap a function of a module or class to measure it."""
        real: Callable[..., Any] = getattr(owner, name)
        part = name.removeprefix("_")

        def call(*args: Any, **more: Any) -> Any:
            began = time.perf_counter()
            try:
                return real(*args, **more)
            finally:
                self.parts_s[part] = self.parts_s.get(part, 0.0) + time.perf_counter() - began

        setattr(owner, name, call)

    def turn(self, side: Callable[[], None]) -> Turn:
        """Run and measure one turn."""
        self.parts_s = {}
        cpu, began = time.process_time(), time.perf_counter()
        side()
        return Turn(time.perf_counter() - began, time.process_time() - cpu, self.parts_s)


def measure(folder: Path, port: int, trials: int, profiler: cProfile.Profile | None) -> list[Pair]:
    """Run both sides in turns."""
    import keras
    import keras_tuner

    from tuner.training import trainer
    from tuner.worker import attempt, epoch_reporter
    from tuner.worker.chief_client import ChiefClient

    watch = Stopwatch()
    for owner, name in (
        (ChiefClient, "next_trial"),
        (keras.backend, "clear_session"),
        (attempt.Attempt, "_verified"),
        (trainer, "save_model"),
        (epoch_reporter.EpochReporter, "settle"),
        (ChiefClient, "complete"),
    ):
        watch.around(owner, name)
    pairs: list[Pair] = []
    with worker_context(folder, port) as context:
        hp = keras_tuner.HyperParameters()

        def ours() -> None:
            grant = context.chief.next_trial(context.stop.check)
            assert grant is not None
            with profiler or nullcontext():
                attempt.Attempt(context, grant).run()

        def plain() -> None:
            keras.backend.clear_session()
            keras.utils.set_random_seed(1)
            context.space.fit(hp, context.space.build(hp), None, None, validation_data=None, callbacks=[])

        for number in range(trials + WARM_TRIALS):
            if number % 2:
                pair = Pair(watch.turn(ours), watch.turn(plain))
            else:
                second = watch.turn(plain)
                pair = Pair(watch.turn(ours), second)
            if number >= WARM_TRIALS:
                pairs.append(pair)
    return pairs


@contextmanager
def worker_context(folder: Path, port: int) -> Iterator["WorkerContext"]:
    """Set up a worker as `tuner.worker.run.run_worker` does, and yield its context."""
    from tuner.bucket import open_bucket
    from tuner.rpc import lease_service, tls
    from tuner.worker.chief_client import ChiefClient
    from tuner.worker.context import opened_context
    from tuner.worker.metrics import WorkerMetrics
    from tuner.worker.stop_signal import StopSignal

    bucket, stop, address = open_bucket(str(folder / "bucket")), StopSignal(), f"127.0.0.1:{port}"
    with tls.open_channel(address, None, lease_service.OPTIONS) as channel:
        chief = ChiefClient(channel, address, "worker-0", "1", lambda: None)
        joined = chief.join()
        with opened_context(chief, joined, bucket, folder / "cache", stop, WorkerMetrics()) as context:
            gc.collect()
            gc.freeze()
            yield context
    stop.finish()


def summary(pairs: list[Pair]) -> dict[str, Any]:
    """Return the medians in milliseconds."""

    def median_ms(values: Iterable[float]) -> float:
        return round(1e3 * statistics.median(values), 3)

    differences = sorted(pair.ours.wall_s - pair.plain.wall_s for pair in pairs)
    return {
        "trials": len(pairs),
        "plain_ms": median_ms(pair.plain.wall_s for pair in pairs),
        "ours_ms": median_ms(pair.ours.wall_s for pair in pairs),
        "overhead_ms": {
            "median": median_ms(differences),
            "p10": round(1e3 * differences[len(differences) // 10], 3),
            "p90": round(1e3 * differences[-1 - len(differences) // 10], 3),
        },
        "overhead_cpu_ms": median_ms(pair.ours.cpu_s - pair.plain.cpu_s for pair in pairs),
        "parts_ms": {part: median_ms(pair.ours.parts_s.get(part, 0.0) for pair in pairs) for part in PARTS},
        "load_average": round(os.getloadavg()[0], 1),
    }


def show(result: dict[str, Any]) -> None:
    """Print the table."""
    print(f"\n{result['trials']} pairs, a model that computes nothing (medians, ms)")
    print(f"{'build, compile and fit, called directly':44}{result['plain_ms']:10.2f}")
    print(f"{'a trial of cifake-tune':44}{result['ours_ms']:10.2f}")
    spread = result["overhead_ms"]
    print(f"{'  added by the worker':44}{spread['median']:10.2f}   (p10 {spread['p10']:.2f}, p90 {spread['p90']:.2f})")
    print(f"{'  added processor time':44}{result['overhead_cpu_ms']:10.2f}")
    for part, ms in result["parts_ms"].items():
        print(f"{f'    {part}':44}{ms:10.2f}")


if __name__ == "__main__":
    main()
