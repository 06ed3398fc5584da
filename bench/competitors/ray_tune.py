"""Ray Tune: trials of a function that reports one number, on a local Ray. Prints a JSON line.

usage: ray_tune.py FOLDER rates TRIALS WORKERS… | restart TRIALS
"""

import json
import os
import sys
import time
from pathlib import Path

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")

import ray
from ray import tune

SPACE = {"units": tune.randint(1, 1001), "learning_rate": tune.loguniform(1e-4, 1e-1)}


def objective(config: dict[str, float]) -> None:
    """Report a score without training."""
    tune.report({"score": 0.5})


def search(folder: Path, name: str, trials: int, workers: int) -> float:
    """Return the duration of a search in seconds, without the start of Ray."""
    tuner = tune.Tuner(
        tune.with_resources(objective, {"cpu": 1}),
        param_space=SPACE,
        tune_config=tune.TuneConfig(
            num_samples=trials, max_concurrent_trials=workers, metric="score", mode="max", reuse_actors=True
        ),
        run_config=tune.RunConfig(name=name, storage_path=str(folder), verbose=0),
    )
    began = time.monotonic()
    results = tuner.fit()
    took_s = time.monotonic() - began
    assert len(results) == trials
    assert not results.errors
    return took_s


def main() -> None:
    """Run the measurement given on the command line."""
    folder, measurement, trials, *workers = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), *sys.argv[4:]
    most = max(map(int, workers), default=1)  # with one worker, Ray Tune is fastest here
    ray.init(num_cpus=most, include_dashboard=False, logging_level="ERROR", log_to_driver=False)
    search(folder, "warm", 8, most)
    if measurement == "rates":
        rows = {}
        for count in workers:
            took_s = search(folder, f"study-{count}", trials, int(count))
            rows[count] = {"trials_per_s": trials / took_s, "trial_ms": 1000 * took_s * int(count) / trials}
        print(json.dumps(rows), flush=True)
        return
    took_s = search(folder, "large", trials, most)
    began = time.monotonic()
    restored = tune.Tuner.restore(str(folder / "large"), tune.with_resources(objective, {"cpu": 1}))
    results = restored.fit()  # no trial is left to run, so this only reads the results
    serving_s = time.monotonic() - began
    assert len(results) == trials
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    mib = pages * os.sysconf("SC_PAGE_SIZE") / 2**20
    print(json.dumps({"search_s": took_s, "serving_s": serving_s, "rss_mib": mib}), flush=True)


if __name__ == "__main__":
    main()
