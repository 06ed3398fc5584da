"""How soon a search finds a good model, beside bare Keras Tuner's distributed mode: a chief and two workers each.

Both sides search the published space on the same cut of CIFAKE, with the same held-out images, epochs a trial and
seed, so with the same first suggestions, and try as many trials as they like; the clock starts with the processes, and
a side arrives when an epoch of one of its trials reaches the target. What is a good model is found beforehand, by a
search with a seed of its own: targets are what some of its best trials reached. Most trials of this space learn, so
only a target that few of them reach shows what a search does; one that all reach shows how soon processes start. Bare
Keras Tuner is used as its guide says: it stops no trial early. Sides take turns, one pair a seed, and a side is ended
where it has reached the last target, or after the limit. Needs CIFAKE beside the repository, or CIFAKE_DIR.

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
"""A target is what these of the pilot's trials reached, the best one being number 1."""
MORE_THAN_ENOUGH = 1000
"""Trials; none of the searches comes so far."""


Epochs = list[tuple[float, float]]
"""Of each epoch, in the order in which they ended: seconds since the start, and the share of held-out images right."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--per-class", type=int, default=2000)
    parser.add_argument("--trials", type=int, default=96, help="of the search that finds the targets")
    parser.add_argument("--epochs", type=int, default=27)
    parser.add_argument("--limit-s", type=float, default=1200)
    parser.add_argument("--json", type=Path, default=ROOT / "bench" / "results" / "target.json")
    arguments = parser.parse_args()
    if arguments.trials < max(BEST):
        parser.error(f"--trials must be {max(BEST)} or more")
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
    """Return what the best trials of a search reach."""
    folder.mkdir()
    ours(archive, folder, search, math.inf)
    reached = sorted((trial.score for trial in our_study(folder).trials.values() if trial.score), reverse=True)
    return [reached[number - 1] for number in BEST]


def pair(archive: Path, folder: Path, search: Search, targets: list[float], limit_s: float) -> dict[str, Any]:
    """Let both sides search, and return when each reached what."""
    places = {side: folder / f"{side}-{search.seed}" for side in ("ours", "bare")}
    for place in places.values():
        place.mkdir()
    enough = targets[-1]
    sides = {"ours": lambda: ours(archive, places["ours"], search, limit_s, enough)}
    sides["bare"] = lambda: bare(archive, places["bare"], search, limit_s, enough)
    found = {side: sides[side]() for side in (sides if search.seed % 2 else reversed(sides))}
    return {"seed": search.seed, "same_suggestions": same_suggestions(places["ours"], places["bare"])} | {
        side: {
            "reached_s": [reached_s(epochs, target) for target in targets],
            "searched_s": round(max((at for at, _ in epochs), default=0.0), 1),
            "epochs": len(epochs),
            "best": max((right for _, right in epochs), default=None),
        }
        for side, epochs in found.items()
    }


def reached_s(epochs: Epochs, target: float) -> float | None:
    """Return after how many seconds an epoch reached the target; None where none did."""
    return next((round(at, 1) for at, right in epochs if right >= target), None)


def ours(archive: Path, folder: Path, search: Search, limit_s: float, enough: float = math.inf) -> Epochs:
    """`cifake-tune run`, packing included, until an epoch is good enough."""
    command = [sys.executable, "-m", "tuner.cli", "run", "--data", str(archive), "--bucket", str(folder / "bucket")]
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
    """Keras Tuner's chief and workers, until an epoch is good enough. The clock starts when it has its arrays."""
    made = BareSearch(folder, archive, search)

    def epochs() -> Epochs:
        return [(each.at - began, each.right) for each in made.ended()]

    with contextlib.ExitStack() as stack:
        began = time.time()
        processes = [stack.enter_context(made.process(tuner_id)) for tuner_id in (CHIEF, *WORKERS)]
        wait(processes[1:], limit_s, lambda: is_enough(epochs(), enough))
        if any(process.returncode for process in processes):
            raise SystemExit((folder / "errors").read_text())
    return epochs()


def is_enough(epochs: Epochs, enough: float) -> bool:
    return any(right >= enough for _, right in epochs)


def same_suggestions(our_folder: Path, bare_folder: Path) -> int:
    """Return how many trials, from the first on, have the same hyperparameters on both sides. One at least must."""
    mine = [dict(trial.hyperparameters) for trial in our_study(our_folder).trials.values()]
    files = sorted((bare_folder / "project").glob("trial_*/trial.json"))
    theirs = [json.loads(file.read_text())["hyperparameters"]["values"] for file in files]
    same = 0
    for ours_, bare_ in zip(mine, theirs, strict=False):
        if ours_ != bare_:
            break
        same += 1
    if not same:
        raise SystemExit("the two sides did not begin with the same hyperparameters")
    return same


def median_ratio(rows: list[dict[str, Any]], number: int, limit_s: float) -> float:
    """Return by how much sooner ours reached a target."""
    return round(statistics.median(ratio_of(row, number, limit_s) for row in rows), 2)


def ratio_of(row: dict[str, Any], number: int, limit_s: float) -> float:
    """Return by how much sooner ours reached a target in one pair.

    A side that did not reach it would have taken longer than the limit: for bare Keras Tuner the limit is taken, for
    ours the ratio is 0; where neither did, 1.
    """
    bare_s, ours_s = (row[side]["reached_s"][number] for side in ("bare", "ours"))
    if ours_s is None:
        return 1.0 if bare_s is None else 0.0
    return float((bare_s or limit_s) / ours_s)


def show(result: dict[str, Any]) -> None:
    """Print the table."""
    print(
        f"\nseconds until a model is as good as the best ones of another search; {result['epochs']} epochs at most,",
        f"{2 * result['per_class']:,} images, {len(WORKERS)} workers",
    )
    print(f"{'best':8}{'right':>8}   bare and ours, a pair a seed{'':24}median of bare/ours")
    for number, (best, target) in enumerate(zip(result["best"], result["targets"], strict=True)):
        cells = "  ".join(
            "/".join(f"{row[side]['reached_s'][number] or math.nan:.0f}" for side in ("bare", "ours"))
            for row in result["rows"]
        )
        print(f"{best:<8}{target:8.1%}   {cells:52}{result['ratios'][number]:.2f}")


if __name__ == "__main__":
    main()
