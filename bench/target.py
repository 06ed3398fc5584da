"""Time until a search finds a good model, compared with bare Keras Tuner's distributed mode.

Each side has a chief and two workers. Both sides search the published space on the same subset of CIFAKE, with the same
validation images, epochs per trial and seed, so with the same first suggestions, and with an unlimited number of
trials. The clock starts with the processes, and stops when an epoch of one of the trials reaches the target. The
targets are scores of the best trials of another search with a different seed. Most trials of this space learn, so only
a target that few trials reach measures the search; one that all of them reach measures the start of processes. Bare
Keras Tuner is used as in its guide, without early stopping. The sides take turns, with one pair per seed. A side is
ended when it has reached the last target, or at the limit. Needs CIFAKE beside the repository, or CIFAKE_DIR.

usage: bench/target.py [--seeds 5] [--per-class 2000] [--trials 96] [--epochs 27] [--limit-s 1200] [--json FILE]
"""

import argparse
import contextlib
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from bench.competitors.bare import BareSearch  # noqa: E402
from bench.competitors.processes import (  # noqa: E402
    BATCH_SIZE,
    CHIEF,
    VALIDATION,
    WORKERS,
    Search,
    our_settings,
    started,
    wait,
)
from tuner.bucket import Bucket, open_bucket  # noqa: E402
from tuner.study.journal import read_records, read_study  # noqa: E402
from tuner.study.records import Reported  # noqa: E402
from tuner.study.state import StudyState  # noqa: E402

CIFAKE = Path(os.environ.get("CIFAKE_DIR", ROOT.parent / "shared" / "cifake"))
STUDY = "target"
PILOT_SEED = 1000
BEST = (12, 4, 1)
"""Ranks of the pilot search's trials whose scores are the targets; rank 1 is the best."""
MORE_THAN_ENOUGH = 1000
"""Maximum number of trials, which no search reaches."""


Epochs = list[tuple[float, float]]
"""Epochs in the order in which they ended: seconds since the start, and validation accuracy."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--per-class", type=int, default=2000)
    parser.add_argument("--trials", type=int, default=96, help="number of trials of the search that gives the targets")
    parser.add_argument("--epochs", type=int, default=27)
    parser.add_argument("--limit-s", type=float, default=1200)
    parser.add_argument("--json", type=Path, default=ROOT / "bench" / "results" / "target.json")
    arguments = parser.parse_args()
    if arguments.trials < max(BEST):
        parser.error(f"--trials must be at least {max(BEST)}, got {arguments.trials}")
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="cifake-tune-bench-") as name:
        folder = Path(name)
        archive = folder / "cut.zip"
        cut = [sys.executable, str(CIFAKE / "unpack"), str(archive), "--per-class", str(arguments.per_class)]
        subprocess.run(cut, check=True, stdout=subprocess.DEVNULL)
        pilot = Search(PILOT_SEED, arguments.trials, arguments.epochs)
        targets = pilot_targets(archive, folder / "pilot", pilot)
        print(f"targets: {', '.join(f'{target:.3f}' for target in targets)}", flush=True)
        for seed in range(1, arguments.seeds + 1):
            search = replace(pilot, seed=seed, trials=MORE_THAN_ENOUGH)
            rows.append(pair(archive, folder, search, targets, arguments.limit_s))
            print(json.dumps(rows[-1]), flush=True)
            result = {"cores": len(os.sched_getaffinity(0)), **vars(arguments), "seeds": len(rows)}
            del result["json"]
            result |= {"validation": VALIDATION, "batch_size": BATCH_SIZE}
            result |= {"best": BEST, "targets": targets, "rows": rows}
            result["ratios"] = [median_ratio(rows, number, arguments.limit_s) for number in range(len(targets))]
            arguments.json.write_text(json.dumps(result, indent=2) + "\n")
    show(result)


def pilot_targets(archive: Path, folder: Path, search: Search) -> list[float]:
    """Run the pilot search, and return the scores of its trials with the ranks `BEST`."""
    folder.mkdir()
    ours(archive, folder, search, math.inf)
    scores = sorted((trial.score for trial in our_study(folder).trials.values() if trial.score), reverse=True)
    return [scores[rank - 1] for rank in BEST]


def pair(archive: Path, folder: Path, search: Search, targets: list[float], limit_s: float) -> dict[str, Any]:
    """Run both searches, and return the seconds at which each of them reached each target."""
    places = {side: folder / f"{side}-{search.seed}" for side in ("ours", "bare")}
    for place in places.values():
        place.mkdir()
    enough = targets[-1]
    sides = {"ours": lambda: ours(archive, places["ours"], search, limit_s, enough)}
    sides["bare"] = lambda: bare(archive, places["bare"], search, limit_s, enough)
    epochs_of = {side: sides[side]() for side in (sides if search.seed % 2 else reversed(sides))}
    return {"seed": search.seed, "same_suggestions": same_suggestions(places["ours"], places["bare"])} | {
        side: {
            "reached_s": [reached_s(epochs, target) for target in targets],
            "searched_s": round(max((at for at, _ in epochs), default=0.0), 1),
            "epochs": len(epochs),
            "best": max((right for _, right in epochs), default=None),
        }
        for side, epochs in epochs_of.items()
    }


def reached_s(epochs: Epochs, target: float) -> float | None:
    """Return the seconds after which an epoch reached the target; None if none did."""
    return next((round(at, 1) for at, right in epochs if right >= target), None)


def ours(archive: Path, folder: Path, search: Search, limit_s: float, enough: float = math.inf) -> Epochs:
    """Run `cifake-tune run`, including packing, until an epoch is good enough."""
    command = [sys.executable, "-m", "cifake_tune", "run", "--data", str(archive), "--bucket", str(folder / "bucket")]
    command += ["--workers", str(len(WORKERS)), *our_settings(STUDY, search)]
    with started(command, folder, {"CIFAKE_TUNE_CACHE": str(folder / "cache")}) as process:
        began = time.time()
        wait([process], limit_s, lambda: is_enough(our_epochs(folder, began), enough))
        if process.returncode:
            raise SystemExit((folder / "errors").read_text())
    return our_epochs(folder, began)


def our_epochs(folder: Path, began: float) -> Epochs:
    records = read_records(our_bucket(folder), STUDY)
    return [(r.at - began, r.metrics["val_accuracy"]) for r in records if isinstance(r, Reported)]


def our_bucket(folder: Path) -> Bucket:
    return open_bucket(str(folder / "bucket"))


def our_study(folder: Path) -> StudyState:
    return read_study(our_bucket(folder), STUDY)


def bare(archive: Path, folder: Path, search: Search, limit_s: float, enough: float) -> Epochs:
    """Run Keras Tuner's chief and workers until an epoch is good enough. The clock starts once its arrays exist."""
    bare_search = BareSearch(folder, archive, search)

    def epochs() -> Epochs:
        return [(epoch.at - began, epoch.right) for epoch in bare_search.ended()]

    with contextlib.ExitStack() as stack:
        began = time.time()
        processes = [stack.enter_context(bare_search.process(tuner_id)) for tuner_id in (CHIEF, *WORKERS)]
        wait(processes[1:], limit_s, lambda: is_enough(epochs(), enough))
        if any(process.returncode for process in processes):
            raise SystemExit((folder / "errors").read_text())
    return epochs()


def is_enough(epochs: Epochs, enough: float) -> bool:
    return any(right >= enough for _, right in epochs)


def same_suggestions(our_folder: Path, bare_folder: Path) -> int:
    """Return the number of first trials with the same hyperparameters on both sides, which must be at least 1."""
    mine = [dict(trial.hyperparameters) for trial in our_study(our_folder).trials.values()]
    files = sorted((bare_folder / "project").glob("trial_*/trial.json"))
    theirs = [json.loads(file.read_text())["hyperparameters"]["values"] for file in files]
    same = 0
    for ours_, bare_ in zip(mine, theirs, strict=False):
        if ours_ != bare_:
            break
        same += 1
    if not same:
        raise SystemExit("the first trials of the two sides have different hyperparameters")
    return same


def median_ratio(rows: list[dict[str, Any]], number: int, limit_s: float) -> float:
    """Return the median factor by which cifake-tune reached a target sooner."""
    return round(statistics.median(ratio_of(row, number, limit_s) for row in rows), 2)


def ratio_of(row: dict[str, Any], number: int, limit_s: float) -> float:
    """Return the factor by which cifake-tune reached a target sooner in one pair.

    If bare Keras Tuner did not reach it, its time is taken to be the limit. If cifake-tune did not, the factor is 0. If
    neither did, it is 1.
    """
    bare_s, ours_s = (row[side]["reached_s"][number] for side in ("bare", "ours"))
    if ours_s is None:
        return 1.0 if bare_s is None else 0.0
    return float((bare_s or limit_s) / ours_s)


def show(result: dict[str, Any]) -> None:
    """Print the table."""
    print(
        f"\nseconds until a model is as good as the best ones of another search, {result['epochs']} epochs at most,",
        f"{2 * result['per_class']:,} images, {len(WORKERS)} workers",
    )
    print(f"{'rank':8}{'accuracy':>8}   bare and ours, a pair per seed{'':22}median of bare/ours")
    for number, (best, target) in enumerate(zip(result["best"], result["targets"], strict=True)):
        cells = "  ".join(
            "/".join(f"{row[side]['reached_s'][number] or math.nan:.0f}" for side in ("bare", "ours"))
            for row in result["rows"]
        )
        print(f"{best:<8}{target:8.1%}   {cells:52}{result['ratios'][number]:.2f}")


if __name__ == "__main__":
    main()
