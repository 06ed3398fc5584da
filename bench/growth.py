"""Growth of costs with size: 100 to 10,000 trials, 1 to 1,000 workers, 10,000 to 1,000,000 images.

For each, the cost at every size, the slope between logarithms (0 if one more costs as much as the first), and the knee:
the size beyond which the cost grows faster than the square root of the size. Measured parts replace the same parts in
the file, and the figure is redrawn. The largest number of images needs 10 GB of disk. The last part counts the objects
of the bucket that a trial writes or deletes, from which the demands of 10,000 workers are computed.

usage: bench/growth.py [--part trials|workers|images|operations]… [--rounds 3] [--quick] [--json FILE]
"""

import argparse
import json
import os
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from bench.scaling.catalogue import CURVES, UNITS, fitted  # noqa: E402
from bench.scaling.cluster import EPOCHS, GCS_WRITES_PER_S, demands  # noqa: E402

SIZES = {
    "trials": (100, 300, 1000, 3000, 10_000),
    "workers": (1, 3, 10, 30, 100, 300, 1000),
    "images": (10_000, 30_000, 100_000, 300_000, 1_000_000),
}
PARTS = (*SIZES, "operations")
QUICK = {"trials": (30, 100), "workers": (1, 10, 30), "images": (1000, 3000)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", action="append", choices=PARTS)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="small sizes, to check that everything works")
    parser.add_argument("--json", type=Path, default=ROOT / "bench" / "results" / "growth.json")
    arguments = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    result: dict[str, Any] = json.loads(arguments.json.read_text()) if arguments.json.exists() else {}
    sizes = QUICK if arguments.quick else SIZES
    for part in arguments.part or PARTS:
        with tempfile.TemporaryDirectory(prefix="cifake-tune-bench-") as folder:
            measured = measure(part, Path(folder), sizes.get(part, ()), arguments.rounds)
        machine = {"cores": len(os.sched_getaffinity(0)), "python": sys.version.split()[0]}
        result[part] = {**machine, "rounds": arguments.rounds, **measured}
        save(arguments.json, result)
    show(result)


def measure(part: str, folder: Path, sizes: tuple[int, ...], rounds: int) -> dict[str, Any]:
    """Measure one part."""
    from bench.scaling import images, operations, trials, workers

    match part:
        case "trials":
            return trials.measure(folder, sizes, rounds)
        case "workers":
            return workers.measure(sizes, rounds)
        case "operations":
            return operations.measure(folder)
        case _:
            return images.measure(folder, sizes, rounds)


def save(path: Path, result: dict[str, Any]) -> None:
    """Write the results so far, so that a failure in the next part does not lose them, and the figure beside them."""
    from bench.scaling.picture import growth_png

    result["fits"] = fitted(result)
    if "workers" in result and "operations" in result:
        result["cluster"] = [asdict(demands(result, epochs)) for epochs in EPOCHS]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=2) + "\n")
    if result.keys() & SIZES.keys():
        path.with_suffix(".png").write_bytes(growth_png(result))


def show(result: dict[str, Any]) -> None:
    """Print the tables."""
    fits = {(fit["part"], fit["rows"], fit["key"]): fit for fit in result["fits"]}
    for part, unit in UNITS.items():
        curves = [(curve, curve.points(result)) for curve in CURVES if curve.part == part]
        if not curves[0][1]:
            continue
        print(f"\n{unit:52}" + "".join(f"{point.size:>11,.0f}" for point in curves[0][1]) + "   slope     knee")
        for curve, points in curves:
            print(f"{curve.label:52}" + "".join(f"{point.cost:11,.3g}" for point in points), end="")
            fit = fits[part, curve.rows, curve.key]
            print(f"{fit['slope']:+8.2f}" + (f"{fit['knee']:9,.0f}" if fit["knee"] else f"{'none':>9}"))
    for row in result.get("cluster", ()):
        print(f"\n{row['workers']:,} workers, {row['trial_s']:.0f} s and {row['epochs']} epochs per trial:")
        print(f"  {row['trials_per_s']:.0f} trials/s and {row['beats_per_s']:,.0f} heartbeats/s", end="")
        verdict = (
            f"enough for trials of {row['chief_trial_s']:.0f} s"
            if row["chief_trial_s"]
            else "exceeded by heartbeats alone"
        )
        print(f": {row['chief_cores']:.2f} cores for the chief, which has one; {verdict}")
        print(f"  {row['writes_per_s']:,.0f} writes/s to a bucket that starts with {GCS_WRITES_PER_S:,}", end="")
        print(f"; enough for trials of {row['bucket_trial_s']:.0f} s")


if __name__ == "__main__":
    main()
