"""Input path: our training against plain `model.fit(x_float32, y)`, as a user of bare Keras Tuner writes it.

Two processes, one a side, take turns: each trains the same model (the middle of the `seed` space) on the same
images for one epoch, the clock running after the first steps. Then each trains one epoch of all training images
while its peak memory is read. Needs CIFAKE beside the repository (or CIFAKE_DIR); without it, noise of the same shape.

usage: python bench/training.py [--pairs 10] [--images 12800] [--json bench/results/training.json]
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SIDES = ("plain", "ours")
WARM_STEPS = 10
BATCH = 128
CIFAKE = Path(os.environ.get("CIFAKE_DIR", Path(__file__).resolve().parents[2] / "shared" / "cifake"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--images", type=int, default=12_800, help="images an epoch of a timed pair")
    parser.add_argument("--json", type=Path, default=Path("bench/results/training.json"))
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.side:
        serve(arguments.side, arguments.folder, arguments.images)
        return
    with tempfile.TemporaryDirectory() as folder:
        source = prepare(Path(folder))
        result = {"images": source, "pairs": arguments.pairs, **measure(Path(folder), arguments)}
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps(result, indent=2) + "\n")
    show(result)


def prepare(folder: Path) -> str:
    """Put a packed data set into `folder`/bucket, and return what it is."""
    from tuner.bucket import open_bucket

    bucket = open_bucket(str(folder / "bucket"))
    if (CIFAKE / "unpack").exists():
        from tuner.data.pack import pack

        archive = folder / "cifake.zip"
        subprocess.run([sys.executable, str(CIFAKE / "unpack"), str(archive)], check=True, stdout=subprocess.DEVNULL)
        (folder / "digest").write_text(pack(str(archive), bucket).digest)
        archive.unlink()
        return "CIFAKE"
    (folder / "digest").write_text("noise")
    return "noise"


def arrays(folder: Path):  # type: ignore[no-untyped-def]
    """Return the training arrays, memory-mapped."""
    import numpy as np

    from tuner.data.arrays import Arrays, Training

    if (folder / "digest").read_text() == "noise":
        file = folder / "noise.npy"
        if not file.exists():
            np.save(file, np.random.default_rng(0).integers(0, 256, (100_000, 32, 32, 3), dtype=np.uint8))
        images, labels = np.load(file, mmap_mode="r"), np.arange(100_000, dtype=np.uint8) % 2
        return Training(Arrays(images[:90_000], labels[:90_000]), Arrays(images[90_000:], labels[90_000:]))
    from tuner.bucket import open_bucket
    from tuner.data.arrays import open_training
    from tuner.data.manifest import read_manifest

    bucket = open_bucket(str(folder / "bucket"))
    return open_training(bucket, read_manifest(bucket, (folder / "digest").read_text()), 0.1, 1, folder / "cache")


def serve(side: str, folder: Path, images: int) -> None:
    """One side: for each line read (a seed, or `all`), train and print what came out."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import keras
    import keras_tuner
    import numpy as np

    from tuner.data.arrays import Arrays, Training
    from tuner.spaces.seed import SeedSpace
    from tuner.training import Task, train

    data = arrays(folder)
    hp = keras_tuner.HyperParameters()
    hp.values.update(filters=60, kernel_size=3, units_1=500, units_2=500, activation_1="relu", activation_2="relu")
    hp.values.update(learning_rate=1e-3, optimizer="adam")

    class Clock(keras.callbacks.Callback):
        """Times from the end of the warm-up steps to the end of the last step."""

        def __init__(self) -> None:
            super().__init__()
            self.steps = 0

        def on_train_batch_end(self, batch: int, logs: object = None) -> None:
            self.steps = batch + 1
            if batch + 1 == WARM_STEPS:
                self.began = time.perf_counter()
            self.ended = time.perf_counter()

        def images_per_s(self) -> float:
            return (self.steps - WARM_STEPS) * BATCH / (self.ended - self.began)

    clock = Clock()

    class Listener:
        """Stands for the worker; `check` is called after each batch, as there."""

        accuracy = 0.0
        batch = -1

        def check(self) -> None:
            self.batch += 1
            if self.batch < steps:
                clock.on_train_batch_end(self.batch)

        def progress(self, epoch: int, share: float, images_per_s: float) -> None:
            pass

        def epoch_done(self, epoch: int, metrics: dict[str, float], model: keras.Model) -> None:
            self.accuracy = metrics["val_accuracy"]

    for line in sys.stdin:
        whole = line.strip() == "all"
        seed = 0 if whole else int(line)
        chosen = np.sort(np.random.default_rng(seed).permutation(len(data.train.labels))[:images])
        part = data.train if whole else Arrays(data.train.images[chosen], data.train.labels[chosen])
        held = Arrays(data.validation.images[:5000], data.validation.labels[:5000])
        if not whole:
            held_chosen = np.arange(0, len(data.validation.labels), 2)
            held = Arrays(data.validation.images[held_chosen], data.validation.labels[held_chosen])
        steps = -(-len(part.labels) // BATCH)
        if side == "plain":
            keras.backend.clear_session()
            keras.utils.set_random_seed(seed + 1)
            seed_model = SeedSpace((32, 32, 3), 2).build(hp)
            # the same model without the Rescaling layer, on pixels scaled beforehand
            model = keras.Sequential([keras.Input((32, 32, 3)), *seed_model.layers[1:]])
            model.compile(keras.optimizers.Adam(1e-3), "binary_crossentropy", metrics=["accuracy"])
            x, y = part.images.astype("float32") / 255, part.labels
            x_held = held.images.astype("float32") / 255
            history = model.fit(
                x, y, batch_size=BATCH, validation_data=(x_held, held.labels), epochs=1, verbose=0, callbacks=[clock]
            )
            accuracy = history.history["val_accuracy"][0]
        else:
            listener = Listener()
            task = Task(hp, seed=seed + 1, batch_size=BATCH, epochs=1)
            train(SeedSpace((32, 32, 3), 2), task, Training(part, held), listener)
            accuracy = listener.accuracy
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps({"images_per_s": clock.images_per_s(), "accuracy": accuracy, "peak_mib": peak}), flush=True)


def measure(folder: Path, arguments: argparse.Namespace) -> dict[str, object]:
    """Let both sides take turns."""
    sides = {side: _start(side, folder, arguments.images) for side in SIDES}
    rows: dict[str, list[dict[str, float]]] = {side: [] for side in SIDES}
    for seed in range(arguments.pairs + 1):
        for side in SIDES if seed % 2 else reversed(SIDES):
            row = _ask(sides[side], str(seed))
            if seed:  # the first turn warms up
                rows[side].append(row)
                print(
                    f"pair {seed:2} {side:5}  {row['images_per_s']:7,.0f} images/s  {row['accuracy']:.4f}", flush=True
                )
    for process in sides.values():
        process.stdin.close()
        process.wait()
    peaks = {}
    for side in SIDES:
        process = _start(side, folder, arguments.images)
        peaks[side] = _ask(process, "all")["peak_mib"]
        process.stdin.close()
        process.wait()
    ratios = [ours["images_per_s"] / plain["images_per_s"] for plain, ours in zip(*rows.values(), strict=True)]
    return {
        "images_per_s": {side: statistics.median(row["images_per_s"] for row in rows[side]) for side in SIDES},
        "ratio_of_pairs": {"median": statistics.median(ratios), "min": min(ratios), "max": max(ratios)},
        "validation_accuracy": {
            side: {
                "mean": statistics.mean(row["accuracy"] for row in rows[side]),
                "standard_deviation": statistics.stdev(row["accuracy"] for row in rows[side]),
            }
            for side in SIDES
        },
        "peak_mib": peaks,
        "memory_ratio": peaks["ours"] / peaks["plain"],
        "rows": rows,
    }


def _start(side: str, folder: Path, images: int) -> subprocess.Popen[str]:
    command = [sys.executable, __file__, "--side", side, "--folder", str(folder), "--images", str(images)]
    root = str(Path(__file__).resolve().parents[1])
    environment = {**os.environ, "PYTHONPATH": root}
    return subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def _ask(process: subprocess.Popen[str], question: str) -> dict[str, float]:
    process.stdin.write(question + "\n")
    process.stdin.flush()
    return json.loads(process.stdout.readline())


def show(result: dict[str, object]) -> None:
    """Print the table."""
    ratio, accuracy = result["ratio_of_pairs"], result["validation_accuracy"]
    print(f"\n{result['pairs']} pairs on {result['images']}, batches of {BATCH}")
    print(f"{'':24}{'plain fit':>12}{'ours':>12}{'ours/plain':>12}")
    rates = result["images_per_s"]
    print(f"{'images/s (median)':24}{rates['plain']:12,.0f}{rates['ours']:12,.0f}{ratio['median']:12.3f}")
    print(f"{'  pair by pair':48}{ratio['min']:7.3f}..{ratio['max']:.3f}")
    means = {side: accuracy[side]["mean"] for side in SIDES}
    print(
        f"{'validation accuracy':24}{means['plain']:12.4f}{means['ours']:12.4f}{means['ours'] - means['plain']:+12.4f}"
    )
    print(f"{'  standard deviation':24}" + "".join(f"{accuracy[side]['standard_deviation']:12.4f}" for side in SIDES))
    peaks = result["peak_mib"]
    print(f"{'peak memory, MiB':24}{peaks['plain']:12,.0f}{peaks['ours']:12,.0f}{result['memory_ratio']:12.3f}")


if __name__ == "__main__":
    main()
