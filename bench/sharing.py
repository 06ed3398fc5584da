"""Several small trials on one device: one process per core, compared with one process on all cores.

Both sides run the same trials, from building the model to its last validation: one side concurrently, the other one
after the other. The comparison is of the images trained per second in total. For GPUs, see `bench/gpu.py`.

usage: python bench/sharing.py [--pairs 5] [--images 12800] [--json FILE]
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from bench.competitors.turns import MIDDLE, Process, Turn, prepare  # noqa: E402
from tuner.local.children import share_of_cores  # noqa: E402

MODELS = {"small": {**MIDDLE, "filters": 20, "units_1": 100, "units_2": 100}, "middle": MIDDLE}
SIDES = ("alone", "shared")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--images", type=int, default=12_800)
    parser.add_argument("--json", type=Path, default=ROOT / "bench" / "results" / "sharing.json")
    arguments = parser.parse_args()
    cores = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory(prefix="cifake-tune-bench-") as name:
        source = prepare(Path(name))
        models = {model: measure(Path(name), model, cores, arguments.pairs, arguments.images) for model in MODELS}
    result = {
        "images": source, "cores": cores, "at_once": cores, "images_a_trial": arguments.images,
        "pairs": arguments.pairs, "models": models,
    }  # fmt: skip
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps(result, indent=2) + "\n")
    show(result)


def measure(place: Path, model: str, cores: int, pairs: int, images: int) -> dict[str, Any]:
    """Run both sides in turns; the first pair is a warm-up."""
    rates: dict[str, list[float]] = {side: [] for side in SIDES}
    with ExitStack() as stack:
        alone = stack.enter_context(Process(place, share_of_cores(1)))
        sharing = [stack.enter_context(Process(place, share_of_cores(cores))) for _ in range(cores)]
        for number in range(pairs + 1):
            trials = [Turn(values=MODELS[model], seed=cores * number + core, images=images) for core in range(cores)]
            for side in SIDES if number % 2 else reversed(SIDES):
                took_s = one_after_the_other(alone, trials) if side == "alone" else all_at_once(sharing, trials)
                if number:
                    rates[side].append(images * len(trials) / took_s)
                    print(f"{model} {number} {side:8}{rates[side][-1]:7,.0f} images/s in total", flush=True)
    ratios = [shared / single for single, shared in zip(*rates.values(), strict=True)]
    return {
        "images_per_s_in_all": {side: statistics.median(of) for side, of in rates.items()},
        "ratio": {"median": statistics.median(ratios), "min": min(ratios), "max": max(ratios)},
        "rows": rates,
    }


def one_after_the_other(process: Process, trials: Sequence[Turn]) -> float:
    """Return the seconds that the trials take one after the other in one process."""
    began = time.perf_counter()
    for trial in trials:
        process.train(trial)
    return time.perf_counter() - began


def all_at_once(processes: Sequence[Process], trials: Sequence[Turn]) -> float:
    """Return the seconds until the last trial has ended, with each trial in its own process."""
    began = time.perf_counter()
    for process, trial in zip(processes, trials, strict=True):
        process.begin(trial)
    for process in processes:
        process.end()
    return time.perf_counter() - began


def show(result: dict[str, Any]) -> None:
    """Print the table."""
    print(
        f"\n{result['at_once']} trials on {result['cores']} cores, images/s in total, median of {result['pairs']} pairs"
    )
    print(f"{'network':10}{'one at a time':>16}{'at once':>12}{'ratio':>8}")
    for model, row in result["models"].items():
        rates = row["images_per_s_in_all"]
        print(f"{model:10}{rates['alone']:16,.0f}{rates['shared']:12,.0f}{row['ratio']['median']:8.2f}")


if __name__ == "__main__":
    main()
