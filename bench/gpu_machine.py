"""What is to be measured on a machine with a GPU, in one command and at most ten minutes; needs JAX.

- `sharing`: four small networks at the same time on one GPU, compared with one (`bench/gpu.py`).
- `compilation`: the time to a second trial's first step, with the compiled programs on disk and without
  (`bench/compilation.py`).
- `input`: TensorFlow's input path, with batches gathered on the GPU, and with tf.data (`bench/training.py`). Skipped if
  TensorFlow is not installed.
- `search`: a search of the space `deep` in the minutes that are left, with an evaluation on the test images.

A part that fails does not prevent the others. With `--small`, all parts run in a few minutes on a CPU, to test this
program: the figures then mean nothing. Uses CIFAKE beside the repository (or CIFAKE_DIR).

usage: python bench/gpu_machine.py [--minutes 10] [--part NAME]… [--small] [--out DIR]
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from bench.competitors.turns import prepare  # noqa: E402

EVALUATION_S = 45.0
"""Seconds that are kept for the evaluation."""
JAX = {"KERAS_BACKEND": "jax", "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
BEST = {
    "width": 128, "blocks": 2, "flip": "horizontal", "shift": 2, "cutout": 0, "mixing": "cutmix",
    "label_smoothing": 0.1, "optimizer": "adamw", "learning_rate": 0.002, "weight_decay": 0.1, "average": 0.998,
}  # fmt: skip
"""Near the best models of docs/results.md. It is tried first."""


@dataclass(frozen=True)
class Machine:
    """Where and how the parts run."""

    place: Path
    """Folder with the packed images, as `bench.competitors.turns.prepare` writes it."""
    out: Path
    """Folder of the results."""
    small: bool
    ends: float
    """Time at which the last part must have ended, on the monotonic clock."""

    @property
    def left_s(self) -> float:
        """Seconds until the end."""
        return max(0.0, self.ends - time.monotonic())

    def python(self, *arguments: str, environment: Mapping[str, str] = JAX) -> None:
        """Run Python in the repository. Raises CalledProcessError, and TimeoutExpired at the end of the minutes."""
        own = {**os.environ, **environment, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
        subprocess.run([sys.executable, *arguments], env=own, cwd=ROOT, check=True, timeout=self.left_s)

    def read(self, name: str) -> Any:
        """Return the content of a results file."""
        return json.loads((self.out / name).read_text(encoding="utf-8"))


def sharing(machine: Machine) -> str:
    """Measure small trials on a shared device."""
    if machine.small:
        machine.python(
            "bench/sharing.py", "--pairs", "1", "--images", "3200", "--json", str(machine.out / "sharing.json")
        )
        ratio = machine.read("sharing.json")["models"]["small"]["ratio"]["median"]
        return f"one small trial per core: {ratio:.2f} times one after the other"
    machine.python(
        "bench/gpu.py",
        "--bucket",
        str(machine.place / "bucket"),
        "--cases",
        "3",
        "--json",
        str(machine.out / "gpu.json"),
    )
    rates = {row["at_once"]: row["images_per_s_in_all"] for row in machine.read("gpu.json")["rows"]}
    return f"four trials at once: {rates[4] / rates[1]:.2f} times one (goal: 1.8), two: {rates[2] / rates[1]:.2f}"


def compilation(machine: Machine) -> str:
    """Measure the first step with and without compiled programs."""
    machine.python("bench/compilation.py", "--pairs", "1", "--json", str(machine.out / "compilation.json"))
    rows = machine.read("compilation.json")["rows"]
    return "; ".join(f"{row['space']}, {row['case']}: {row['ratio']['median']:.1f} times sooner" for row in rows)


def tensorflow_input(machine: Machine) -> str:
    """Compare TensorFlow's input path with tf.data."""
    if find_spec("tensorflow") is None:
        return "skipped: TensorFlow is not installed"
    size = ("--pairs", "1", "--images", "3200", "--all-images", "3200") if machine.small else ("--pairs", "2")
    machine.python(
        "bench/training.py", *size, "--json", str(machine.out / "training.json"),
        environment={"KERAS_BACKEND": "tensorflow", "TF_FORCE_GPU_ALLOW_GROWTH": "true"},
    )  # fmt: skip
    ratio = machine.read("training.json")["ratio_of_pairs"]["tf.data"]["median"]
    return f"{ratio:.2f} times the images per second of tf.data"


def search(machine: Machine) -> str:
    """Search the space `deep` for the rest of the time, and evaluate the best model."""
    hours = (machine.left_s - EVALUATION_S) / 3600
    if hours <= 0.01:
        return "skipped: less than a minute is left"
    first = {**BEST, "width": 16, "blocks": 1} if machine.small else BEST
    study = {
        "name": "deep-gpu",
        "seed": 1,
        "data": {"validation": 0.05, "batch_size": 500},
        "space": {"name": "deep"},
        "search": {"max_hours": round(hours, 4), "first": [first], "max_trials": 1 if machine.small else None},
        "training": {"epochs": 1 if machine.small else 60},
    }
    file = machine.out / "study.json"  # JSON is YAML
    file.write_text(json.dumps(study, indent=2) + "\n")
    bucket, digest = str(machine.place / "bucket"), (machine.place / "digest").read_text()
    machine.python(
        "-m", "cifake_tune", "run", "--study", str(file), "--bucket", bucket, "--data", digest, "--workers", "1"
    )
    evaluation = machine.out / "evaluation"
    shutil.copytree(machine.place / "bucket" / "studies" / "deep-gpu" / "evaluation", evaluation, dirs_exist_ok=True)
    accuracy = machine.read("evaluation/metrics.json")["accuracy"]
    return f"{accuracy:.2%} on the test images; 98.6 % is the goal of docs/results.md"


PARTS: dict[str, Callable[[Machine], str]] = {
    "sharing": sharing,
    "compilation": compilation,
    "input": tensorflow_input,
    "search": search,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0, help="minutes until the last part must have ended")
    parser.add_argument("--part", action="append", choices=tuple(PARTS), help="run only this part; default: all")
    parser.add_argument("--small", action="store_true", help="run at a small scale, also without a GPU")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "gpu-machine", help="folder of the results")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    ends = time.monotonic() + 60 * arguments.minutes
    with tempfile.TemporaryDirectory(prefix="cifake-tune-bench-") as folder:
        machine = Machine(Path(folder), arguments.out.resolve(), arguments.small, ends)
        if prepare(machine.place) != "CIFAKE":
            sys.exit("bench/gpu_machine.py needs CIFAKE beside the repository, or in CIFAKE_DIR")
        failed = run(machine, arguments.part or tuple(PARTS))
    sys.exit(bool(failed))


def run(machine: Machine, parts: Sequence[str]) -> list[str]:
    """Run the parts, and return those that failed. The results of each part are written when it ends."""
    results: dict[str, dict[str, Any]] = {}
    for name in parts:
        began = time.monotonic()
        print(f"\n== {name}, {machine.left_s / 60:.1f} minutes left", flush=True)
        try:
            results[name] = {"result": PARTS[name](machine)}
        except (subprocess.SubprocessError, OSError, KeyError) as error:
            results[name] = {"failed": str(error)}
        results[name]["seconds"] = round(time.monotonic() - began, 1)
        (machine.out / "gpu_machine.json").write_text(json.dumps(results, indent=2) + "\n")
    print(f"\n== results, in {machine.out}")
    for name, result in results.items():
        print(f"{name:12} {result['seconds']:6.0f} s  {result.get('result') or 'failed: ' + result['failed']}")
    return [name for name, result in results.items() if "failed" in result]


if __name__ == "__main__":
    main()
