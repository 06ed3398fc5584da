"""All that was compared, in one table: what each benchmark has written, side by side.

usage: bench/summary.py [--results DIR]    also writes summary.json there
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
    """One comparison; `ratio` is how many times better ours is, whichever way the figure goes."""

    benchmark: str
    what: str
    ours: float
    other: float
    than: str
    """The other side."""
    ratio: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    found = rows(arguments.results)
    (arguments.results / "summary.json").write_text(json.dumps([asdict(row) for row in found], indent=2) + "\n")
    print(f"\n{'':12}{'':44}{'ours':>10}{'other':>10}{'better':>8}   than")
    for row in found:
        print(f"{row.benchmark:12}{row.what:44}{row.ours:10,.4g}{row.other:10,.4g}{row.ratio:8.2f}   {row.than}")


def rows(results: Path) -> list[Row]:
    """Return the comparisons of all benchmarks that were run."""
    found: list[Row] = []
    for name, of in SOURCES.items():
        path = results / f"{name}.json"
        if path.exists():
            found += of(json.loads(path.read_text(encoding="utf-8")))
    return found


def more(benchmark: str, what: str, ours: float, other: float, than: str, ratio: float | None = None) -> Row:
    """Return a row whose figure is the better the larger; a ratio of pairs may differ from that of medians."""
    return Row(benchmark, what, ours, other, than, ours / other if ratio is None else ratio)


def less(benchmark: str, what: str, ours: float, other: float, than: str, ratio: float | None = None) -> Row:
    """Return a row whose figure is the better the smaller."""
    return Row(benchmark, what, ours, other, than, other / ours if ratio is None else ratio)


def search(result: Result) -> Iterator[Row]:
    """The chief's."""
    if sides := result.get("bare"):
        ours, bare = sides["ours"], sides["bare"]
        yield more("search", "trials/s, 16 clients", ours["trials_per_s"], bare["trials_per_s"], "bare Keras Tuner")
        yield less("search", "create, ms, p99", ours["create_ms_p99"], bare["create_ms_p99"], "bare Keras Tuner")
    for row in result.get("swarm", ()):
        what = f"trials/s, {row['workers']:,} workers, {row['train_s']} s a trial"
        yield more("search", what, row["trials_per_s"], row["servicer_trials_per_s"], "a server that only answers")


def target(result: Result) -> Iterator[Row]:
    """How soon a good model is found."""
    for number, (best, ratio) in enumerate(zip(result["best"], result["ratios"], strict=True)):
        sides = [[row[side]["reached_s"][number] for row in result["rows"]] for side in ("ours", "bare")]
        ours, bare = (statistics.median(at or result["limit_s"] for at in side) for side in sides)
        what = f"s to a model as good as number {best} of a search"
        yield less("target", what, ours, bare, "bare Keras Tuner", ratio)


def killed(result: Result) -> Iterator[Row]:
    """How a search ends one of whose workers was killed."""
    for worker, sides in result["cases"].items():
        ours, bare = (sides[side]["ended_s"] for side in ("ours", "bare"))
        yield less("killed", f"s to the end after a kill, worker {worker}", ours, bare, "bare Keras Tuner")


def frameworks(result: Result) -> Iterator[Row]:
    """Other frameworks'."""
    for other in ("Optuna", "Ray Tune"):
        ours, theirs = (result["rates"][side]["1"]["trial_ms"] for side in ("ours", other))
        yield less("frameworks", "ms a trial, one worker", ours, theirs, other)
        common = max(set(result["rates"]["ours"]) & set(result["rates"][other]), key=int)
        ours, theirs = (result["rates"][side][common]["trials_per_s"] for side in ("ours", other))
        yield more("frameworks", f"trials/s, {common} workers", ours, theirs, other)
        ours, theirs = (result["restart"][side]["serving_s"] for side in ("ours", other))
        yield less("frameworks", f"s to go on with {result['restart_trials']:,} trials", ours, theirs, other)
        ours, theirs = (result["restart"][side]["rss_mib"] for side in ("ours", other))
        yield less("frameworks", f"MiB with {result['restart_trials']:,} trials", ours, theirs, other)


def overhead(result: Result) -> Iterator[Row]:
    """A worker's own work."""
    yield less("overhead", "ms a trial that computes nothing", result["ours_ms"], result["plain_ms"], "build and fit")


def training(result: Result) -> Iterator[Row]:
    """The training loop's."""
    names = {"plain": "model.fit on arrays", "tf.data": "model.fit on tf.data"}
    for side, ratio in result["ratio_of_pairs"].items():
        ours, other = (result["steps_per_s"][each] for each in ("ours", side))
        yield more("training", "steps/s", ours, other, names[side], ratio["median"])
        yield less("training", "peak memory, MiB", result["peak_mib"]["ours"], result["peak_mib"][side], names[side])


def variants(result: Result) -> Iterator[Row]:
    """What each space uses against what it does not."""
    for row in result["comparisons"]:
        used, other = (row["images_per_s"][row[side]] for side in ("in_use", "other"))
        what = f"images/s, space {row['space']}, {row['of']}: {row['in_use']}"
        yield more("variants", what, used, other, row["other"], row["ratio"]["median"])


def sharing(result: Result) -> Iterator[Row]:
    """Trials at once."""
    for model, row in result["models"].items():
        rates = row["images_per_s_in_all"]
        what = f"images/s in all, {result['at_once']} {model} trials at once"
        yield more("sharing", what, rates["shared"], rates["alone"], "one at a time", row["ratio"]["median"])


def gpu(result: Result) -> Iterator[Row]:
    """Trials at once on a GPU, and its precisions, each with what was measured in the same run."""
    same = ("run", "width", "blocks", "batch", "precision", "shift", "cutout", "average")
    alone = {tuple(row[key] for key in same): row for row in result["rows"] if row["at_once"] == 1}
    for row in result["rows"]:
        one = alone.get(tuple(row[key] for key in same))
        if one is not None and row["at_once"] > 1:
            what = f"images/s in all, {row['at_once']} trials at once, width {row['width']}"
            yield more("gpu", what, row["images_per_s_in_all"], one["images_per_s_in_all"], "one at a time")
    for slow in (row for row in alone.values() if row["precision"] == "float32"):
        network = {key: slow[key] for key in ("run", "width", "blocks", "batch")}
        fast = [row for row in alone.values() if row["precision"] != "float32" and network.items() <= row.items()]
        # where it was not measured alike: augmentation is work that float32 was spared
        for row in sorted(fast, key=lambda row: (row["shift"], row["cutout"]))[:1]:
            changed = ", with augmentation" if row["shift"] or row["cutout"] else ""
            what = f"images/s, width {slow['width']}, {row['precision']}{changed}"
            yield more("gpu", what, row["images_per_s_in_all"], slow["images_per_s_in_all"], "float32")


def kubernetes(result: Result) -> Iterator[Row]:
    """A release's start."""
    ours, bare = result["release_first_step_s"], result["bare_pod_s"]
    yield less("kubernetes", "s to the first training step", ours, bare, "a pod that imports TensorFlow")


def pack(result: Result) -> Iterator[Row]:
    """Packing."""
    ours, pillow = result["pack_seconds"], result["pillow_one_core_seconds"]
    yield less("pack", f"s for {result['images']:,} images", ours, pillow, "zipfile and Pillow on one core")


def growth(result: Result) -> Iterator[Row]:
    """The chief's, at the most trials."""
    if sides := result.get("trials"):
        ours, bare = (sides[side][-1] for side in ("ours", "bare"))
        what = f"chief's processor, ms a trial of {ours['size']:,}"
        yield less("growth", what, ours["cpu_ms_per_trial"], bare["cpu_ms_per_trial"], "bare Keras Tuner")


SOURCES: dict[str, Callable[[Result], Iterator[Row]]] = {
    each.__name__: each
    for each in (
        search,
        target,
        killed,
        frameworks,
        overhead,
        training,
        variants,
        sharing,
        gpu,
        kubernetes,
        pack,
        growth,
    )
}

if __name__ == "__main__":
    main()
