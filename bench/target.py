"""How soon a search finds a good model, beside bare Keras Tuner's distributed mode: a chief and two workers each.

Both sides search the published space on the same cut of CIFAKE, with the same held-out images, epochs a trial and
seed, so with the same first suggestions; the clock starts with the processes. A side has arrived when an epoch of one
of its trials reaches the target. Sides take turns, one pair a seed. Needs CIFAKE beside the repository, or CIFAKE_DIR.

usage: bench/target.py [--seeds 5] [--per-class 1000] [--trials 24] [--epochs 27] [--target 0.8] [--json FILE]
"""

import argparse
import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.support.gcs_emulator import free_port  # noqa: E402

CIFAKE = Path(os.environ.get("CIFAKE_DIR", ROOT.parent / "shared" / "cifake"))
WORKERS, VALIDATION, BATCH_SIZE = 2, 0.3, 128
POLL_S = 0.1


@dataclass(frozen=True)
class Search:
    """What both sides are to do."""

    seed: int
    trials: int
    epochs: int
    target: float
    limit_s: float


@dataclass(frozen=True)
class Outcome:
    """How one side went."""

    reached_s: float | None
    """None: not within the limit, or not at all."""
    best: float
    epochs: int
    """Trained until then, by all workers."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--per-class", type=int, default=1000)
    parser.add_argument("--trials", type=int, default=24)
    parser.add_argument("--epochs", type=int, default=27)
    parser.add_argument("--target", type=float, default=0.8)
    parser.add_argument("--limit-s", type=float, default=900)
    parser.add_argument("--json", type=Path, default=ROOT / "bench" / "results" / "target.json")
    arguments = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory(prefix="cifake-tune-bench-") as name:
        folder = Path(name)
        archive = folder / "cut.zip"
        cut = [sys.executable, str(CIFAKE / "unpack"), str(archive), "--per-class", str(arguments.per_class)]
        subprocess.run(cut, check=True, stdout=subprocess.DEVNULL)
        for seed in range(1, arguments.seeds + 1):
            search = Search(seed, arguments.trials, arguments.epochs, arguments.target, arguments.limit_s)
            places = {side: folder / f"{side}-{seed}" for side in ("ours", "bare")}
            for place in places.values():
                place.mkdir()
            export(archive, places["bare"], seed)
            outcomes: dict[str, Outcome] = {}
            for side in ("ours", "bare") if seed % 2 else ("bare", "ours"):
                outcomes[side] = ours(archive, places[side], search) if side == "ours" else bare(places[side], search)
            same = same_suggestions(places["ours"], places["bare"], seed)
            rows.append({"seed": seed, "same_suggestions": same, **{side: asdict(o) for side, o in outcomes.items()}})
            print(f"seed {seed}: " + ", ".join(f"{side} {o}" for side, o in outcomes.items()), flush=True)
    result = {"cores": len(os.sched_getaffinity(0)), **{k: v for k, v in vars(arguments).items() if k != "json"}}
    result |= {"rows": rows, "ratio": median_ratio(rows, arguments.limit_s)}
    arguments.json.write_text(json.dumps(result, indent=2) + "\n")
    show(result)


def export(archive: Path, folder: Path, seed: int) -> None:
    """Write what our workers train on, and are compared by, as arrays that the other side loads."""
    import numpy as np

    from tuner.bucket import open_bucket
    from tuner.data.arrays import open_training
    from tuner.data.pack import pack

    bucket = open_bucket(str(folder / "data"))
    data = open_training(bucket, pack(str(archive), bucket), VALIDATION, seed, folder / "cache")
    np.savez(
        folder / "arrays.npz",
        x=data.train.images,
        y=data.train.labels,
        x_held=data.validation.images,
        y_held=data.validation.labels,
    )


def ours(archive: Path, folder: Path, search: Search) -> Outcome:
    """`cifake-tune run`, packing included."""
    from tuner.bucket import open_bucket
    from tuner.journal import JournalReader
    from tuner.trials import Reported

    settings = {
        "name": "target",
        "seed": search.seed,
        "data.validation": VALIDATION,
        "data.batch_size": BATCH_SIZE,
        "search.max_trials": search.trials,
        "training.epochs": search.epochs,
    }
    command = [sys.executable, "-m", "tuner.cli", "run", "--data", str(archive), "--bucket", str(folder / "bucket")]
    command += ["--workers", str(WORKERS), *(part for k, v in settings.items() for part in ("--set", f"{k}={v}"))]
    seen: list[float] = []
    with started(command, folder, {"CIFAKE_TUNE_CACHE": str(folder / "cache")}) as process:
        reader = None

        def look() -> list[float]:
            nonlocal reader
            if reader is None and (folder / "bucket" / "studies").exists():
                reader = JournalReader(open_bucket(str(folder / "bucket")), "target")
            for record in reader.poll() if reader else []:
                if isinstance(record, Reported):
                    seen.append(record.metrics["val_accuracy"])
            return seen

        return watch(search, look, [process])


def bare(folder: Path, search: Search) -> Outcome:
    """Keras Tuner's chief and workers."""
    script = [sys.executable, str(ROOT / "bench" / "sides" / "bare_search.py"), str(folder)]
    command = [*script, *map(str, (search.seed, search.trials, search.epochs, BATCH_SIZE))]
    address = {"KERASTUNER_ORACLE_IP": "127.0.0.1", "KERASTUNER_ORACLE_PORT": str(free_port())}

    def look() -> list[float]:
        file = folder / "epochs"
        return [float(line.split()[1]) for line in file.read_text().splitlines()] if file.exists() else []

    with contextlib.ExitStack() as stack:
        processes = [
            stack.enter_context(started(command, folder, {**address, "KERASTUNER_TUNER_ID": tuner_id}))
            for tuner_id in ("chief", *(f"tuner{number}" for number in range(WORKERS)))
        ]
        return watch(search, look, processes[1:])


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


def watch(search: Search, look: Callable[[], list[float]], processes: list[subprocess.Popen[str]]) -> Outcome:
    """Look until an epoch reaches the target, or the processes have ended."""
    began = time.monotonic()
    while True:
        over = all(process.poll() is not None for process in processes)
        took_s, seen = time.monotonic() - began, look()
        if seen and max(seen) >= search.target:
            return Outcome(took_s, max(seen), len(seen))
        if over or took_s > search.limit_s:
            return Outcome(None, max(seen, default=0.0), len(seen))
        time.sleep(POLL_S)


def same_suggestions(our_folder: Path, bare_folder: Path, seed: int) -> int:
    """Return how many trials, from the first on, have the same hyperparameters on both sides."""
    from tuner.bucket import open_bucket
    from tuner.journal import JournalReader

    reader = JournalReader(open_bucket(str(our_folder / "bucket")), "target")
    reader.poll()
    mine = [dict(trial.hyperparameters) for trial in reader.state.trials.values()]
    files = sorted((bare_folder / "project").glob("trial_*/trial.json"))
    theirs = [json.loads(file.read_text())["hyperparameters"]["values"] for file in files]
    same = 0
    for ours_, bare_ in zip(mine, theirs, strict=False):
        if ours_ != bare_:
            break
        same += 1
    return same


def median_ratio(rows: list[dict[str, Any]], limit_s: float) -> float:
    """Return by how much sooner ours arrived; one that did not counts as the limit."""
    times = [[row[side]["reached_s"] or limit_s for side in ("bare", "ours")] for row in rows]
    return statistics.median(bare_s / ours_s for bare_s, ours_s in times)


def show(result: dict[str, Any]) -> None:
    """Print the table."""
    print(
        f"\nseconds until {result['target']:.0%} of the held-out images are right; {result['trials']} trials of",
        end=" ",
    )
    print(f"{result['epochs']} epochs at most, {2 * result['per_class']:,} images, {WORKERS} workers")
    print(f"{'seed':8}{'bare':>10}{'ours':>10}{'bare/ours':>11}   epochs trained (bare, ours); same suggestions")
    for row in result["rows"]:
        bare_s, ours_s = (row[side]["reached_s"] for side in ("bare", "ours"))
        ratio = f"{bare_s / ours_s:11.2f}" if bare_s and ours_s else f"{'-':>11}"
        cells = "".join(f"{s:10.1f}" if s else f"{'never':>10}" for s in (bare_s, ours_s))
        epochs = ", ".join(str(row[side]["epochs"]) for side in ("bare", "ours"))
        print(f"{row['seed']:<8}{cells}{ratio}   {epochs}; {row['same_suggestions']}")
    print(f"median ratio {result['ratio']:.2f}")


if __name__ == "__main__":
    main()
