"""Throughput of the space `deep` on a GPU: small and large networks, alone and concurrently, in each precision.

Up to four processes train like workers, on all training images, which are moved to the GPU once. In each case, they
compile and train one epoch, wait for each other, and are then measured in whole epochs, including validation. None
stops before the last one was measured, so all processes of a case train during the whole measurement.

The share of the promised speed is the rate of the convolutions' operations divided by the maker's figure for dense
bfloat16. Training has three times as many operations as prediction. The benchmark is skipped if JAX finds no GPU with a
known figure. CIFAKE must have been packed.

usage: python bench/gpu.py [--bucket cifake-tune-bucket] [--cases N] [--missing] [--json bench/results/gpu.json]
"""

import argparse
import json
import math
import multiprocessing
import os
import queue
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

PROMISED_TFLOPS = {"H100 80GB": 989, "H200": 989, "A100": 312, "L4": 121}
"""The maker's figure for dense bfloat16, by a part of the GPU's name."""
MEASURED_S = 4.0
"""Minimum duration of a measurement, in seconds."""
VALIDATION = 0.1
"""Share of the images held out for validation."""


@dataclass(frozen=True)
class Case:
    """A network and training configuration, and the number of processes that train it concurrently."""

    width: int
    blocks: int
    at_once: int = 1
    batch: int = 500
    precision: str = "mixed_bfloat16"
    shift: int = 0
    cutout: int = 0
    average: float = 0.0


CASES = (
    Case(16, 1), Case(16, 1, at_once=2), Case(16, 1, at_once=4),
    Case(64, 2), Case(64, 2, at_once=2),
    Case(128, 2), Case(128, 2, at_once=3, batch=250, shift=2, cutout=12, average=0.998),
    Case(64, 2, shift=2, cutout=12), Case(64, 2, precision="float32"),
)  # fmt: skip


@dataclass(frozen=True)
class Meeting:
    """Synchronization of the processes of one case."""

    start: Barrier
    measured: Any
    """Shared counter of the processes that have been measured."""


@dataclass(frozen=True)
class Measurement:
    """Measurement of one process in one case."""

    case: int
    parameters: int
    flops_an_image: int
    """Number of operations to train on one image; validation takes a third of it."""

    first_epoch_s: float
    epoch_s: float
    images_per_s: float


def main() -> None:
    """Measure every case, and write the results after each of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bucket", default="cifake-tune-bucket")
    parser.add_argument("--cases", type=int, default=len(CASES), help="number of cases, from the smallest network on")
    parser.add_argument("--missing", action="store_true", help="measure only the cases that are not in the file yet")
    parser.add_argument("--json", type=Path, default=Path("bench/results/gpu.json"))
    arguments = parser.parse_args()
    name = gpu_name()
    known = next((model for model in PROMISED_TFLOPS if name and model in name), None)
    if name is None or known is None:
        print(f"bench/gpu.py is skipped: JAX found no GPU of a known model (GPU: {name or 'none'})")
        return
    os.environ |= {"KERAS_BACKEND": "jax", "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    result: dict[str, Any] = {"gpu": name, "measured_s": MEASURED_S, "validation": VALIDATION, "rows": []}
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    if arguments.missing and arguments.json.exists():
        previous = json.loads(arguments.json.read_text())
        if previous["gpu"] != name:
            raise SystemExit(f"{arguments.json} has results of another GPU, {previous['gpu']}; this one is {name}")
        result["rows"] = previous["rows"]
    run = 1 + max((row["run"] for row in result["rows"]), default=0)  # only rows of one run may be compared
    cases = tuple(
        case
        for case in CASES[: arguments.cases]
        if not any(asdict(case).items() <= row.items() for row in result["rows"])
    )
    print(f"{name}\n{heading()}")
    if not cases:
        print(f"{arguments.json} already has all cases")
        return
    for measurements in measured(cases, arguments.bucket):
        case = cases[measurements[0].case]
        row = {"run": run, **row_of(case, measurements, PROMISED_TFLOPS[known])}
        result["rows"].append(row)
        arguments.json.write_text(json.dumps(result, indent=2) + "\n")
        print(line(row), flush=True)


def gpu_name() -> str | None:
    program = "import jax; d = jax.devices()[0]; print(d.device_kind if d.platform == 'gpu' else '')"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    return done.stdout.strip() or None


def measured(cases: tuple[Case, ...], bucket: str) -> Any:
    """Yield the measurements of each case. The processes are started only once, because importing Keras is slow."""
    context = multiprocessing.get_context("spawn")
    most = max(case.at_once for case in cases)
    turn, results = context.Barrier(most), context.Queue()
    meetings = [Meeting(context.Barrier(case.at_once), context.Value("i", 0)) for case in cases]
    processes = [
        context.Process(target=take_part, args=(number, cases, meetings, turn, results, bucket), daemon=True)
        for number in range(most)
    ]
    for process in processes:
        process.start()
    for case in cases:
        yield [result_of(results, processes) for _ in range(case.at_once)]
    for process in processes:
        process.join()


def result_of(results: Any, processes: list[Any]) -> Measurement:
    while True:
        try:
            measurement: Measurement = results.get(timeout=1)
            return measurement
        except queue.Empty:
            if any(process.exitcode for process in processes):
                raise SystemExit("a process of the benchmark failed") from None


def take_part(
    number: int, cases: tuple[Case, ...], meetings: list[Meeting], turn: Barrier, results: Any, bucket: str
) -> None:
    """Run as process `number`: train in each case that needs more processes than this number."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from tuner.bucket import open_bucket
    from tuner.data.arrays import open_training
    from tuner.data.manifest import find_data_sets, read_manifest

    opened = open_bucket(bucket)
    manifest = read_manifest(opened, find_data_sets(opened)[0])
    data = open_training(opened, manifest, VALIDATION, 1, Path.home() / ".cache" / "cifake-tune")
    for index, (case, meeting) in enumerate(zip(cases, meetings, strict=True)):
        turn.wait()
        if number < case.at_once:
            results.put(measure(index, case, meeting, data))


class _EnoughError(Exception):
    """Raised to end the training when all processes of the case have been measured."""


def measure(index: int, case: Case, meeting: Meeting, data: Any) -> Measurement:
    import keras_tuner

    from tuner.spaces import deep
    from tuner.training.loop import Task, train

    vars(deep)["fastest_precision"] = lambda: case.precision
    hyperparameters = keras_tuner.HyperParameters()
    hyperparameters.values.update({k: v for k, v in asdict(case).items() if k not in ("at_once", "batch", "precision")})
    clock = Clock(index, case, meeting, len(data.train.labels))
    try:
        train(deep.DeepSpace(), Task(hyperparameters, seed=1, batch_size=case.batch, epochs=1000), data, clock)
    except _EnoughError:
        assert clock.measurement is not None
        return clock.measurement
    raise AssertionError("a thousand epochs were not enough")


class Clock:
    """Times a training, and ends it when all processes have been measured."""

    def __init__(self, index: int, case: Case, meeting: Meeting, images: int) -> None:
        self.measurement: Measurement | None = None
        self._index = index
        self._case = case
        self._meeting = meeting
        self._images = images
        self._began = time.perf_counter()
        self._first_epoch_s = 0.0

    def check(self) -> None:
        pass

    def progress(self, epoch: int, share: float, images_per_s: float) -> None:
        pass

    def epoch_done(
        self, epoch: int, metrics: dict[str, float], model: Any, returned: bool = False, named: bool = False
    ) -> None:
        now = time.perf_counter()
        if epoch == 0:
            self._first_epoch_s = now - self._began
            self._meeting.start.wait()
            self._began = time.perf_counter()
            return
        if self.measurement is None and now - self._began >= MEASURED_S:
            epoch_s = (now - self._began) / epoch
            self.measurement = Measurement(
                case=self._index,
                parameters=model.count_params(),
                flops_an_image=3 * 2 * multiplications(model),
                first_epoch_s=round(self._first_epoch_s, 2),
                epoch_s=round(epoch_s, 3),
                images_per_s=round(self._images / epoch_s),
            )
            with self._meeting.measured.get_lock():
                self._meeting.measured.value += 1
        if self._meeting.measured.value == self._case.at_once:
            raise _EnoughError


def multiplications(model: Any) -> int:
    """Return the number of multiplications of all convolutions for one image."""
    import keras

    convolutions = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    return sum(math.prod(layer.output.shape[1:3]) * math.prod(layer.kernel.shape) for layer in convolutions)


def row_of(case: Case, measurements: list[Measurement], promised_tflops: float) -> dict[str, Any]:
    one = measurements[0]
    in_all = sum(process.images_per_s for process in measurements)
    validated = VALIDATION / (1 - VALIDATION) / 3  # work of validation per training image, relative to training
    return asdict(case) | {
        "parameters": one.parameters,
        "flops_an_image": one.flops_an_image,
        "first_epoch_s": max(process.first_epoch_s for process in measurements),
        "epoch_s": max(process.epoch_s for process in measurements),
        "images_per_s_in_all": in_all,
        "share_of_promised": round(in_all * (1 + validated) * one.flops_an_image / (promised_tflops * 1e12), 3),
    }


def heading() -> str:
    return (
        f"{'network':14}{'parameters':>12}  {'precision':16}{'shift':>5}{'cutout':>7}{'average':>8}{'batch':>6}"
        f"{'at once':>8}{'1st epoch':>10}{'epoch':>8}{'images/s in total':>18}{'of promised':>12}"
    )


def line(row: dict[str, Any]) -> str:
    network = f"width {row['width']} x {row['blocks']}"
    return (
        f"{network:14}{row['parameters']:12,}  {row['precision']:16}{row['shift']:5}{row['cutout']:7}{row['average']:8}"
        f"{row['batch']:6}{row['at_once']:8}{row['first_epoch_s']:9.1f}s{row['epoch_s']:7.2f}s"
        f"{row['images_per_s_in_all']:18,}{row['share_of_promised']:12.1%}"
    )


if __name__ == "__main__":
    main()
