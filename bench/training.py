"""Input path: the training loop compared with `model.fit(x_float32, y)` and tf.data, as with bare Keras Tuner.

Three processes, one per side, take turns. Each trains the same model (the middle of the `seed` space) on the same
images for one epoch, timed after the first steps. Then each trains one epoch of all training images to measure its peak
memory. Uses CIFAKE beside the repository (or CIFAKE_DIR), or noise of the same shape if it does not exist.

usage: python bench/training.py [--pairs 10] [--images 12800] [--json FILE]
"""

import argparse
import json
import statistics
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from bench.competitors.turns import BATCH, Outcome, Process, Turn, prepare  # noqa: E402

SIDES = ("plain", "tf.data", "ours")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=10, help="number of turns of each side")
    parser.add_argument("--images", type=int, default=12_800, help="number of images in the epoch of a timed turn")
    parser.add_argument(
        "--all-images", type=int, help="number of images in the epoch that measures memory; default: all"
    )
    parser.add_argument("--json", type=Path, default=ROOT / "bench" / "results" / "training.json")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cifake-tune-bench-") as name:
        place = Path(name)
        source = prepare(place)
        rows = turns(place, arguments.pairs, arguments.images)
        peaks = {side: peak_mib(place, Turn(loop=side, images=arguments.all_images)) for side in SIDES}
    result = {"images": source, "pairs": arguments.pairs, **summary(rows, peaks)}
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps(result, indent=2) + "\n")
    show(result)


def turns(place: Path, pairs: int, images: int) -> dict[str, list[Outcome]]:
    """Run the sides in turns, in reversed order every second round; the first round is a warm-up."""
    rows: dict[str, list[Outcome]] = {side: [] for side in SIDES}
    with ExitStack() as stack:
        processes = {side: stack.enter_context(Process(place)) for side in SIDES}
        for number in range(pairs + 1):
            for side in SIDES if number % 2 else reversed(SIDES):
                outcome = processes[side].train(Turn(loop=side, seed=number, images=images))
                if number:
                    rows[side].append(outcome)
                    rate, accuracy = outcome.images_per_s, outcome.accuracy
                    print(f"round {number:2} {side:8}  {rate:7,.0f} images/s  {accuracy:.4f}", flush=True)
    return rows


def peak_mib(place: Path, turn: Turn) -> float:
    """Return the peak memory of a process that runs only this turn."""
    with Process(place) as process:
        return process.train(turn).peak_mib


def summary(rows: dict[str, list[Outcome]], peaks: dict[str, float]) -> dict[str, Any]:
    """Return the medians, ratios and rows for the results file."""
    others = [side for side in SIDES if side != "ours"]
    rates = {side: [row.images_per_s for row in of] for side, of in rows.items()}
    accuracies = {side: [row.accuracy for row in of] for side, of in rows.items()}
    ratios = {side: [ours / other for ours, other in zip(rates["ours"], rates[side], strict=True)] for side in others}
    return {
        "images_per_s": {side: statistics.median(of) for side, of in rates.items()},
        "steps_per_s": {side: statistics.median(of) / BATCH for side, of in rates.items()},
        "ratio_of_pairs": {
            side: {"median": statistics.median(of), "min": min(of), "max": max(of)} for side, of in ratios.items()
        },
        "validation_accuracy": {
            side: {"mean": statistics.mean(of), "standard_deviation": statistics.pstdev(of)}
            for side, of in accuracies.items()
        },
        "peak_mib": peaks,
        "memory_ratio": {side: peaks["ours"] / peaks[side] for side in others},
        "rows": {side: [asdict(row) for row in of] for side, of in rows.items()},
    }


def show(result: dict[str, Any]) -> None:
    """Print the table."""
    print(f"\n{result['pairs']} turns per side on {result['images']}, batches of {BATCH}")
    print(f"{'':24}" + "".join(f"{side:>10}" for side in SIDES) + f"{'ours/plain':>13}{'ours/tf.data':>13}")
    pairs = result["ratio_of_pairs"]
    for label, key, ratios in (
        ("images/s (median)", "images_per_s", [pairs[side]["median"] for side in SIDES[:2]]),
        ("steps/s", "steps_per_s", []),
        ("peak memory, MiB", "peak_mib", [result["memory_ratio"][side] for side in SIDES[:2]]),
    ):
        line = "".join(f"{result[key][side]:10,.1f}" for side in SIDES)
        print(f"{label:24}{line}" + "".join(f"{ratio:13.3f}" for ratio in ratios))
    accuracy = result["validation_accuracy"]
    print(f"{'validation accuracy':24}" + "".join(f"{accuracy[side]['mean']:10.4f}" for side in SIDES))
    print(f"{'  standard deviation':24}" + "".join(f"{accuracy[side]['standard_deviation']:10.4f}" for side in SIDES))


if __name__ == "__main__":
    main()
