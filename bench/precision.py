"""Mixed precision: bfloat16 against float32, for both spaces: used only where it is faster with the same accuracy.

Two processes, one a precision, take turns: each trains the same model on the same images, from the same seed. Skipped
where the hardware has no bfloat16 that its framework would use (a CPU with AMX, or a GPU since Ampere).

usage: python bench/precision.py [--pairs 8] [--images 12800] [--epochs 3] [--json FILE]
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from bench.sides.turns import MIDDLE, Outcome, Process, Turn, prepare  # noqa: E402

FLOAT32, BFLOAT16 = "float32", "mixed_bfloat16"
SPACES = {"seed": MIDDLE, "deep": {"width": 16, "blocks": 1, "average": 0.0}}
IN_USE = {"seed": FLOAT32, "deep": BFLOAT16}
"""What the spaces choose on such hardware."""
STUDENT_95 = {2: 12.71, 3: 4.30, 4: 3.18, 5: 2.78, 6: 2.57, 7: 2.45, 8: 2.36, 9: 2.31, 10: 2.26}
"""By the number of pairs; Student's t for 95 %, two-sided."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=8, choices=STUDENT_95)
    parser.add_argument("--images", type=int, default=12_800)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--json", type=Path, default=ROOT / "bench" / "results" / "precision.json")
    arguments = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from tuner.spaces.precision import fastest_precision

    if fastest_precision() != BFLOAT16:
        print("bench/precision.py is skipped: this machine multiplies bfloat16 no faster")
        return
    with tempfile.TemporaryDirectory(prefix="cifake-tune-bench-") as name:
        source = prepare(Path(name))
        spaces = {
            space: compared(turns(Path(name), space, arguments.pairs, arguments.images, arguments.epochs))
            for space in SPACES
        }
    result = {
        "images": source,
        "pairs": arguments.pairs,
        "images_an_epoch": arguments.images,
        "epochs": arguments.epochs,
        "spaces": {space: {"in_use": IN_USE[space], **found} for space, found in spaces.items()},
    }
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps(result, indent=2) + "\n")
    show(result)


def turns(place: Path, space: str, pairs: int, images: int, epochs: int) -> dict[str, list[Outcome]]:
    """Let both precisions take turns; the first pair only warms up."""
    rows: dict[str, list[Outcome]] = {FLOAT32: [], BFLOAT16: []}
    with Process(place) as one, Process(place) as other:
        processes = {FLOAT32: one, BFLOAT16: other}
        for number in range(pairs + 1):
            for precision in rows if number % 2 else reversed(rows):
                turn = Turn(
                    space=space, values=SPACES[space], precision=precision,
                    seed=number, images=images, epochs=epochs if number else 1,
                )  # fmt: skip
                outcome = processes[precision].train(turn)
                if number:
                    rows[precision].append(outcome)
                    rate, accuracy = outcome.images_per_s, outcome.accuracy
                    print(f"{space} {number} {precision:15}{rate:7,.0f} images/s  {accuracy:.4f}", flush=True)
    return rows


def compared(rows: dict[str, list[Outcome]]) -> dict[str, Any]:
    """Return rates, accuracies, and both compared pair by pair."""
    pairs = list(zip(rows[FLOAT32], rows[BFLOAT16], strict=True))
    ratios = [short.images_per_s / long.images_per_s for long, short in pairs]
    gains = [short.accuracy - long.accuracy for long, short in pairs]
    half = STUDENT_95[len(gains)] * statistics.stdev(gains) / len(gains) ** 0.5
    return {
        "images_per_s": {name: statistics.median(row.images_per_s for row in of) for name, of in rows.items()},
        "ratio": {"median": statistics.median(ratios), "min": min(ratios), "max": max(ratios)},
        "validation_accuracy": {name: statistics.mean(row.accuracy for row in of) for name, of in rows.items()},
        "accuracy_gain": {"mean": statistics.mean(gains), "half_interval_95": half},
        "rows": {name: [asdict(row) for row in of] for name, of in rows.items()},
    }


def show(result: dict[str, Any]) -> None:
    """Print the table."""
    print(f"\n{result['pairs']} pairs, {result['epochs']} epochs of {result['images_an_epoch']:,} images")
    print(f"{'space':8}{'float32':>12}{'bfloat16':>12}{'ratio':>8}{'accuracy gained':>24}   in use")
    for space, row in result["spaces"].items():
        rates, gain = row["images_per_s"], row["accuracy_gain"]
        print(f"{space:8}{rates[FLOAT32]:12,.0f}{rates[BFLOAT16]:12,.0f}{row['ratio']['median']:8.2f}", end="")
        print(f"{gain['mean']:+13.4f} ± {gain['half_interval_95']:.4f}   {row['in_use']}")


if __name__ == "__main__":
    main()
