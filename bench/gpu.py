"""A GPU's share of work in our training: networks of the space `deep` alone, and two processes at once.

Each process trains its trial as a worker would, on all training images, which are moved to the GPU once, and says the
rate of its last epoch. The share is that of the convolutions' multiplications, three times those of a prediction, in
what the maker promises for dense bfloat16. Skipped where JAX finds no GPU whose promise is known. CIFAKE must have been
packed.

usage: python bench/gpu.py [--bucket cifake-tune-bucket] [--json bench/results/gpu.json]
"""

import argparse
import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path

PROMISED_TFLOPS = {"H100 80GB": 989, "H200": 989, "A100": 312, "L4": 121}
CASES = (
    {"width": 64, "blocks": 2, "at_once": 1},
    {"width": 64, "blocks": 2, "at_once": 2},
    {"width": 128, "blocks": 2, "at_once": 1},
)
BATCH, EPOCHS = 500, 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bucket", default="cifake-tune-bucket")
    parser.add_argument("--json", type=Path, default=Path("bench/results/gpu.json"))
    parser.add_argument("--case", type=json.loads, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.case:
        print(json.dumps(measure(arguments.case, arguments.bucket)))
        return
    name = gpu_name()
    known = next((model for model in PROMISED_TFLOPS if name and model in name), None)
    if name is None or known is None:
        print(f"bench/gpu.py is skipped: JAX finds no GPU that it knows ({name or 'none'})")
        return
    rows = [row_of(case, run(case, arguments.bucket), PROMISED_TFLOPS[known]) for case in CASES]
    result = {"gpu": name, "batch": BATCH, "rows": rows}
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps(result, indent=2) + "\n")
    show(result)


def gpu_name() -> str | None:
    program = "import jax; d = jax.devices()[0]; print(d.device_kind if d.platform == 'gpu' else '')"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    return done.stdout.strip() or None


def run(case: dict[str, int], bucket: str) -> list[dict[str, float]]:
    """Let so many processes train at once, and return what each measured."""
    command = [sys.executable, __file__, "--bucket", bucket, "--case", json.dumps(case)]
    environment = {**os.environ, "KERAS_BACKEND": "jax", "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
                   "PYTHONPATH": str(Path(__file__).resolve().parents[1])}  # fmt: skip
    processes = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) for _ in range(case["at_once"])]
    return [json.loads(process.communicate()[0].splitlines()[-1]) for process in processes]


def measure(case: dict[str, int], folder: str) -> dict[str, float]:
    import keras
    import keras_tuner

    from tuner.bucket import open_bucket
    from tuner.data.arrays import open_training
    from tuner.data.manifest import find_data_sets, read_manifest
    from tuner.spaces.deep import DeepSpace
    from tuner.training import Task, train

    class Clock:
        def __init__(self) -> None:
            self.ends = [time.perf_counter()]
            self.rate = 0.0
            self.model: keras.Model | None = None

        def check(self) -> None:
            pass

        def progress(self, epoch: int, share: float, images_per_s: float) -> None:
            self.rate = images_per_s or self.rate

        def epoch_done(self, epoch: int, metrics: dict[str, float], model: keras.Model) -> None:
            self.ends.append(time.perf_counter())
            self.model = model

    bucket = open_bucket(folder)
    manifest = read_manifest(bucket, find_data_sets(bucket)[0])
    data = open_training(bucket, manifest, 0.1, 1, Path.home() / ".cache" / "cifake-tune")
    hyperparameters = keras_tuner.HyperParameters()
    hyperparameters.values.update(width=case["width"], blocks=case["blocks"], average=0.0)
    clock = Clock()
    train(DeepSpace(), Task(hyperparameters, seed=1, batch_size=BATCH, epochs=EPOCHS), data, clock)
    return {
        "parameters": clock.model.count_params(),
        "flops_an_image": 3 * 2 * multiplications(clock.model),
        "first_epoch_s": round(clock.ends[1] - clock.ends[0], 2),
        "epoch_s": round(clock.ends[-1] - clock.ends[-2], 2),
        "images_per_s": round(clock.rate),
    }


def multiplications(model) -> int:  # type: ignore[no-untyped-def]
    """Return those of all convolutions for one image."""
    import keras

    convolutions = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    return sum(math.prod(layer.output.shape[1:3]) * math.prod(layer.kernel.shape) for layer in convolutions)


def row_of(case: dict[str, int], found: list[dict[str, float]], promised_tflops: float) -> dict[str, float]:
    images_per_s = sum(each["images_per_s"] for each in found)
    share = images_per_s * found[0]["flops_an_image"] / (promised_tflops * 1e12)
    return {**case, **found[0], "images_per_s_in_all": images_per_s, "share_of_promised": round(share, 3)}


def show(result: dict[str, object]) -> None:
    print(f"{result['gpu']}, batches of {result['batch']}\n{'network':16}{'parameters':>12}{'at once':>9}", end="")
    print(f"{'epoch':>9}{'images/s in all':>17}{'of promised':>13}")
    for row in result["rows"]:
        network = f"width {row['width']} x {row['blocks']}"
        print(f"{network:16}{row['parameters']:12,}{row['at_once']:9}{row['epoch_s']:8.2f}s", end="")
        print(f"{row['images_per_s_in_all']:17,}{row['share_of_promised']:13.1%}")


if __name__ == "__main__":
    main()
