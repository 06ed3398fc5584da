"""Variants of a network: bfloat16 or float32, and batch normalization in one operation or Keras's own.

Two processes, one per variant, take turns. Each trains the same model on the same images from the same seed. A space
uses the variant that is faster at the same accuracy. Variants that do not differ on this machine are skipped:
precisions if the framework would not use bfloat16 (it does on a CPU with AMX, or a GPU since Ampere), and batch
normalization on JAX.

usage: python bench/variants.py [--pairs 8] [--images 12800] [--epochs 3] [--json FILE]
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from bench.competitors.turns import MIDDLE, Outcome, Process, Turn, prepare  # noqa: E402


@dataclass(frozen=True)
class Comparison:
    """Two variants of a space's network. The space chooses one of them depending on the hardware."""

    space: str
    of: str
    variants: Mapping[str, Turn]


PRECISIONS = {"float32": Turn(precision="float32"), "bfloat16": Turn(precision="mixed_bfloat16")}
COMPARISONS = (
    Comparison("seed", "precision", PRECISIONS),
    Comparison("deep", "precision", PRECISIONS),
    Comparison("deep", "batch norm", {"Keras's": Turn(fused_norm=False), "fused": Turn()}),
)
VALUES: dict[str, Mapping[str, Any]] = {"seed": MIDDLE, "deep": {"width": 16, "blocks": 1, "average": 0.0}}
STUDENT_95 = {2: 12.71, 3: 4.30, 4: 3.18, 5: 2.78, 6: 2.57, 7: 2.45, 8: 2.36, 9: 2.31, 10: 2.26}
"""Student's t for 95 %, two-sided, by the number of pairs."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=8, choices=STUDENT_95)
    parser.add_argument("--images", type=int, default=12_800)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--json", type=Path, default=ROOT / "bench" / "results" / "variants.json")
    arguments = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    differing = [comparison for comparison in COMPARISONS if makes_a_difference(comparison)]
    if not differing:
        print("bench/variants.py is skipped: the variants do not differ on this machine")
        return
    with tempfile.TemporaryDirectory(prefix="cifake-tune-bench-") as name:
        source = prepare(Path(name))
        rows = [
            compared(comparison, turns(Path(name), comparison, arguments.pairs, arguments.images, arguments.epochs))
            for comparison in differing
        ]
    result = {
        "images": source,
        "pairs": arguments.pairs,
        "images_an_epoch": arguments.images,
        "epochs": arguments.epochs,
        "comparisons": rows,
    }
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps(result, indent=2) + "\n")
    show(result)


def makes_a_difference(comparison: Comparison) -> bool:
    """Return whether the variants differ on this machine."""
    import keras

    from tuner.spaces.precision import fastest_precision

    if comparison.of == "precision":
        return fastest_precision() == "mixed_bfloat16"
    return bool(keras.backend.backend() == "tensorflow")


def in_use(comparison: Comparison) -> str:
    """Return the variant that the space chooses on this machine, as seen in the model that it builds."""
    import keras_tuner

    from tuner.config.space_settings import Space
    from tuner.spaces import load_space
    from tuner.spaces.layers.batch_norm import FusedBatchNormalization

    space = load_space(Space(name=comparison.space), (32, 32, 3), 2)
    layers = space.build(keras_tuner.HyperParameters()).layers
    if comparison.of == "precision":
        return next(str(layer.compute_dtype) for layer in layers if layer.name.startswith("conv"))
    return "fused" if any(isinstance(layer, FusedBatchNormalization) for layer in layers) else "Keras's"


def turns(place: Path, comparison: Comparison, pairs: int, images: int, epochs: int) -> dict[str, list[Outcome]]:
    """Run both variants in turns; the first pair is a warm-up."""
    rows: dict[str, list[Outcome]] = {name: [] for name in comparison.variants}
    with Process(place) as one, Process(place) as other:
        processes = dict(zip(rows, (one, other), strict=True))
        for number in range(pairs + 1):
            for name in rows if number % 2 else reversed(rows):
                turn = replace(
                    comparison.variants[name], space=comparison.space, values=VALUES[comparison.space],
                    seed=number, images=images, epochs=epochs if number else 1,
                )  # fmt: skip
                outcome = processes[name].train(turn)
                if number:
                    rows[name].append(outcome)
                    rate, accuracy = outcome.images_per_s, outcome.accuracy
                    print(f"{comparison.space} {number} {name:10}{rate:7,.0f} images/s  {accuracy:.4f}", flush=True)
    return rows


def compared(comparison: Comparison, rows: dict[str, list[Outcome]]) -> dict[str, Any]:
    """Return rates and accuracies, and compare the variant in use with the other one pair by pair."""
    chosen = in_use(comparison)
    other = next(name for name in rows if name != chosen)
    pairs = list(zip(rows[chosen], rows[other], strict=True))
    ratios = [used.images_per_s / unused.images_per_s for used, unused in pairs]
    gains = [used.accuracy - unused.accuracy for used, unused in pairs]
    half = STUDENT_95[len(gains)] * statistics.stdev(gains) / len(gains) ** 0.5
    return {
        "space": comparison.space,
        "of": comparison.of,
        "in_use": chosen,
        "other": other,
        "images_per_s": {name: statistics.median(row.images_per_s for row in of) for name, of in rows.items()},
        "ratio": {"median": statistics.median(ratios), "min": min(ratios), "max": max(ratios)},
        "validation_accuracy": {name: statistics.mean(row.accuracy for row in of) for name, of in rows.items()},
        "accuracy_gain": {"mean": statistics.mean(gains), "half_interval_95": half},
        "rows": {name: [asdict(row) for row in of] for name, of in rows.items()},
    }


def show(result: dict[str, Any]) -> None:
    """Print the table."""
    print(f"\n{result['pairs']} pairs, {result['epochs']} epochs of {result['images_an_epoch']:,} images")
    print(f"{'space':7}{'':12}{'in use':10}{'images/s':>10}   {'other':10}{'images/s':>10}{'ratio':>8}   accuracy gain")
    for row in result["comparisons"]:
        used, unused = (row["images_per_s"][row[side]] for side in ("in_use", "other"))
        print(
            f"{row['space']:7}{row['of']:12}{row['in_use']:10}{used:10,.0f}   {row['other']:10}{unused:10,.0f}", end=""
        )
        gain = row["accuracy_gain"]
        print(f"{row['ratio']['median']:8.2f}   {gain['mean']:+.4f} ± {gain['half_interval_95']:.4f}")


if __name__ == "__main__":
    main()
