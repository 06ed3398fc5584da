"""Summary of all comparisons in one table, from the results of each benchmark.

usage: bench/summary.py [--results DIR]    also writes summary.json to this folder
"""

import argparse
import json
import statistics
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parent / "results"
Result = dict[str, Any]


@dataclass(frozen=True)
class Row:
    """One comparison. `ratio` is the factor by which cifake-tune is better, for higher and for lower figures."""

    benchmark: str
    what: str
    ours: float
    other: float
    than: str
    """Name of the other side."""
    ratio: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    comparisons = rows(arguments.results)
    (arguments.results / "summary.json").write_text(json.dumps([asdict(row) for row in comparisons], indent=2) + "\n")
    print(f"\n{'':12}{'':44}{'ours':>10}{'other':>10}{'better':>8}   than")
    for row in comparisons:
        print(f"{row.benchmark:12}{row.what:44}{row.ours:10,.4g}{row.other:10,.4g}{row.ratio:8.2f}   {row.than}")


def rows(results: Path) -> list[Row]:
    """Return the comparisons of all benchmarks with results."""
    comparisons: list[Row] = []
    for name, of in SOURCES.items():
        path = results / f"{name}.json"
        if path.exists():
            comparisons += of(json.loads(path.read_text(encoding="utf-8")))
    return comparisons


def more(benchmark: str, what: str, ours: float, other: float, than: str, ratio: float | None = None) -> Row:
    """Return a row with a figure that should be high. `ratio` is given if it is the median of pairs."""
    return Row(benchmark, what, ours, other, than, ours / other if ratio is None else ratio)


def less(benchmark: str, what: str, ours: float, other: float, than: str, ratio: float | None = None) -> Row:
    """Return a row with a figure that should be low."""
    return Row(benchmark, what, ours, other, than, other / ours if ratio is None else ratio)


def search(result: Result) -> Iterator[Row]:
    """Yield the comparisons of the chief."""
    if sides := result.get("bare"):
        ours, bare = sides["ours"], sides["bare"]
        yield more("search", "trials/s, 16 clients", ours["trials_per_s"], bare["trials_per_s"], "bare Keras Tuner")
        yield less("search", "create, ms, p99", ours["create_ms_p99"], bare["create_ms_p99"], "bare Keras Tuner")
    for row in result.get("swarm", ()):
        what = f"trials/s, {row['workers']:,} workers, {row['train_s']} s per trial"
        yield more("search", what, row["trials_per_s"], row["servicer_trials_per_s"], "a server that only answers")


def buckets(result: Result) -> Iterator[Row]:
    """Yield the comparisons of buckets."""
    if sides := result.get("chief"):
        s3, google = sides["s3"], sides["gs"]
        what = f"trials/s, {s3['workers']:,} workers, S3 with 50 ms"
        yield more("buckets", what, s3["trials_per_s"], google["trials_per_s"], "Google Cloud Storage with 50 ms")
    if sides := result.get("libraries"):
        ours, other = (sides[side]["read_ms"] for side in ("google", "obstore"))
        yield less("buckets", "ms per read of 1 KiB from gs://", ours, other, "obstore")


def target(result: Result) -> Iterator[Row]:
    """Yield the comparisons of the time to a good model."""
    for number, (best, ratio) in enumerate(zip(result["best"], result["ratios"], strict=True)):
        sides = [[row[side]["reached_s"][number] for row in result["rows"]] for side in ("ours", "bare")]
        ours, bare = (statistics.median(at or result["limit_s"] for at in side) for side in sides)
        what = f"s to a model as good as number {best} of a search"
        yield less("target", what, ours, bare, "bare Keras Tuner", ratio)


def killed(result: Result) -> Iterator[Row]:
    """Yield the comparisons of a search with a killed worker."""
    for worker, sides in result["cases"].items():
        ours, bare = (sides[side]["ended_s"] for side in ("ours", "bare"))
        yield less("killed", f"s to the end after a kill, worker {worker}", ours, bare, "bare Keras Tuner")


def frameworks(result: Result) -> Iterator[Row]:
    """Yield the comparisons with other frameworks."""
    for other in ("Optuna", "Ray Tune"):
        ours, theirs = (result["rates"][side]["1"]["trial_ms"] for side in ("ours", other))
        yield less("frameworks", "ms per trial, one worker", ours, theirs, other)
        common = max(set(result["rates"]["ours"]) & set(result["rates"][other]), key=int)
        ours, theirs = (result["rates"][side][common]["trials_per_s"] for side in ("ours", other))
        yield more("frameworks", f"trials/s, {common} workers", ours, theirs, other)
        ours, theirs = (result["restart"][side]["serving_s"] for side in ("ours", other))
        yield less("frameworks", f"s to continue a study of {result['restart_trials']:,} trials", ours, theirs, other)
        ours, theirs = (result["restart"][side]["rss_mib"] for side in ("ours", other))
        yield less("frameworks", f"MiB with {result['restart_trials']:,} trials", ours, theirs, other)


def overhead(result: Result) -> Iterator[Row]:
    """Yield the comparison of a worker's overhead."""
    yield less("overhead", "ms per trial that computes nothing", result["ours_ms"], result["plain_ms"], "build and fit")


def training(result: Result) -> Iterator[Row]:
    """Yield the comparisons of the training loop."""
    names = {"plain": "model.fit on arrays", "tf.data": "model.fit on tf.data"}
    for side, ratio in result["ratio_of_pairs"].items():
        ours, other = (result["steps_per_s"][name] for name in ("ours", side))
        yield more("training", "steps/s", ours, other, names[side], ratio["median"])
        yield less("training", "peak memory, MiB", result["peak_mib"]["ours"], result["peak_mib"][side], names[side])


def variants(result: Result) -> Iterator[Row]:
    """Yield the comparisons of the variant that each space uses with the other one."""
    for row in result["comparisons"]:
        used, other = (row["images_per_s"][row[side]] for side in ("in_use", "other"))
        what = f"images/s, space {row['space']}, {row['of']}: {row['in_use']}"
        yield more("variants", what, used, other, row["other"], row["ratio"]["median"])


def sharing(result: Result) -> Iterator[Row]:
    """Yield the comparisons of concurrent trials."""
    for model, row in result["models"].items():
        rates = row["images_per_s_in_all"]
        what = f"images/s in total, {result['at_once']} {model} trials at once"
        yield more("sharing", what, rates["shared"], rates["alone"], "one at a time", row["ratio"]["median"])


def compilation(result: Result) -> Iterator[Row]:
    """Yield the comparisons of the time to the first step."""
    for row in result["rows"]:
        what = f"s to the first step, {row['case']}, space {row['space']}"
        kept, without = (row["first_step_s"][side] for side in ("kept", "without"))
        yield less("compilation", what, kept, without, "compiling", row["ratio"]["median"])


def gpu(result: Result) -> Iterator[Row]:
    """Yield the comparisons of concurrent trials and precisions on a GPU, each with a row of the same run."""
    same = ("run", "width", "blocks", "batch", "precision", "shift", "cutout", "average")
    alone = {tuple(row[key] for key in same): row for row in result["rows"] if row["at_once"] == 1}
    for row in result["rows"]:
        one = alone.get(tuple(row[key] for key in same))
        if one is not None and row["at_once"] > 1:
            what = f"images/s in total, {row['at_once']} trials at once, width {row['width']}"
            yield more("gpu", what, row["images_per_s_in_all"], one["images_per_s_in_all"], "one at a time")
    for slow in (row for row in alone.values() if row["precision"] == "float32"):
        network = {key: slow[key] for key in ("run", "width", "blocks", "batch")}
        fast = [row for row in alone.values() if row["precision"] != "float32" and network.items() <= row.items()]
        # if there is no equal row, one with augmentation, which is extra work that the float32 row did not have
        for row in sorted(fast, key=lambda row: (row["shift"], row["cutout"]))[:1]:
            changed = ", with augmentation" if row["shift"] or row["cutout"] else ""
            what = f"images/s, width {slow['width']}, {row['precision']}{changed}"
            yield more("gpu", what, row["images_per_s_in_all"], slow["images_per_s_in_all"], "float32")


def kubernetes(result: Result) -> Iterator[Row]:
    """Yield the comparison of a release's start."""
    ours, bare = result["release_first_step_s"], result["bare_pod_s"]
    yield less("kubernetes", "s to the first training step", ours, bare, "a pod that imports TensorFlow")


def pack(result: Result) -> Iterator[Row]:
    """Yield the comparison of packing."""
    ours, pillow = result["pack_seconds"], result["pillow_one_core_seconds"]
    yield less("pack", f"s for {result['images']:,} images", ours, pillow, "zipfile and Pillow on one core")


def growth(result: Result) -> Iterator[Row]:
    """Yield the comparison of the chief with the largest number of trials."""
    if sides := result.get("trials"):
        ours, bare = (sides[side][-1] for side in ("ours", "bare"))
        what = f"chief's processor, ms per trial, {ours['size']:,} trials"
        yield less("growth", what, ours["cpu_ms_per_trial"], bare["cpu_ms_per_trial"], "bare Keras Tuner")


SOURCES: dict[str, Callable[[Result], Iterator[Row]]] = {
    source.__name__: source
    for source in (
        search,
        buckets,
        target,
        killed,
        frameworks,
        overhead,
        training,
        variants,
        sharing,
        compilation,
        gpu,
        kubernetes,
        pack,
        growth,
    )
}

if __name__ == "__main__":
    main()
