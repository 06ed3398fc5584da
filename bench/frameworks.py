"""Comparison with Ray Tune and Optuna: cost of a trial, scaling with workers, and duration of a restart.

Each side runs trials that train nothing: hyperparameters, one report, the end. cifake-tune runs its chief with the
journal in a folder, and client threads that use its protocol. Optuna runs its gRPC storage proxy in front of SQLite,
with the same number of client threads. Ray Tune runs a function that reports, on a local Ray with the same number of
workers. The sides take turns for several rounds, and medians are shown. `make bench` installs the other two in
.venv-bench.

usage: bench/frameworks.py [--rounds 3] [--trials 1000] [--restart 10000] [--json FILE]
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from bench.chief.processes import STDERR, STUDY, answer, first_line, our_chief, prepare, role, sample  # noqa: E402
from tests.support.children import ending  # noqa: E402
from tests.support.gcs_emulator import free_port  # noqa: E402

SIDES = ROOT / "bench" / "competitors"
OTHERS = ROOT / ".venv-bench" / "bin" / "python"
CLIENTS = {"ours": (1, 2, 8, 16, 64), "Optuna": (1, 2, 8, 16, 64), "Ray Tune": (1, 2, 8)}
SCRIPTS = {"Optuna": "optuna_proxy.py", "Ray Tune": "ray_tune.py"}
Row = dict[str, float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--restart", type=int, default=10_000)
    parser.add_argument("--json", type=Path, default=ROOT / "bench" / "results" / "frameworks.json")
    arguments = parser.parse_args()
    if not OTHERS.exists():
        raise SystemExit("Ray Tune and Optuna are not installed; `make bench` installs them in .venv-bench.")
    rates: dict[str, dict[int, list[Row]]] = {side: {count: [] for count in counts} for side, counts in CLIENTS.items()}
    with tempfile.TemporaryDirectory(prefix="cifake-tune-bench-") as folder:
        for number in range(arguments.rounds):
            for side, counts in CLIENTS.items():
                place = Path(folder) / f"{number}-{side}"
                place.mkdir()
                for count, row in measure(side, place, arguments.trials, counts).items():
                    rates[side][count].append(row)
                    print(
                        f"round {number + 1}, {side}, {count} workers: {row['trials_per_s']:.1f} trials/s", flush=True
                    )
        restarts = {side: restart(side, Path(folder), arguments.restart) for side in CLIENTS}
    result = {
        "cores": len(os.sched_getaffinity(0)),
        "trials": arguments.trials,
        "rounds": arguments.rounds,
        "rates": {
            side: {
                count: {key: statistics.median(r[key] for r in rows) for key in rows[0]} for count, rows in of.items()
            }
            for side, of in rates.items()
        },
        "restart_trials": arguments.restart,
        "restart": restarts,
        "load_average": round(os.getloadavg()[0], 1),
    }
    arguments.json.write_text(json.dumps(result, indent=2) + "\n")
    show(json.loads(arguments.json.read_text()))


def measure(side: str, folder: Path, trials: int, counts: tuple[int, ...]) -> dict[int, Row]:
    """Return the trials per second and the milliseconds per trial, by the number of workers."""
    if side != "ours":
        result = other(side, folder, "rates", trials, *counts)
        return {int(count): row for count, row in result.items()}
    rows = {}
    for count in counts:
        bucket, port = str(folder / str(count)), free_port()
        with ending(our_chief(bucket, prepare(bucket), trials, port)):
            times = answer(role("clients", address=f"127.0.0.1:{port}", count=count))
        parts = zip(times["create_s"], times["report_s"], times["end_s"], strict=True)
        rows[count] = {
            "trials_per_s": trials / max(times["ended"]),
            "trial_ms": 1000 * statistics.median(sum(part) for part in parts),
        }
    return rows


def restart(side: str, folder: Path, trials: int) -> Row:
    """Return the seconds that a new process needs to continue a search of `trials` trials, and its memory."""
    place = folder / f"restart-{side}"
    place.mkdir()
    print(f"{side}: {trials:,} trials, then a restart", flush=True)
    if side != "ours":
        return other(side, place, "restart", trials)
    bucket, port = str(place / "bucket"), free_port()
    digest = prepare(bucket)
    with ending(our_chief(bucket, digest, trials, port)):
        answer(role("clients", address=f"127.0.0.1:{port}", count=16))
    study = [*STUDY, f"search.max_trials={trials + 1}"]
    with ending(role("restarted", bucket=bucket, study=study, digest=digest, port=free_port())) as restarted:
        row = json.loads(first_line(restarted))
        time.sleep(1)
        mib = sample(restarted.pid).mib
    return {"serving_s": row["serving_s"], "rss_mib": mib}


def other(side: str, folder: Path, *arguments: object) -> Any:
    """Run another framework's script and return the JSON of its last line."""
    command = [str(OTHERS), str(SIDES / SCRIPTS[side]), str(folder), *map(str, arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=STDERR, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{side} failed with exit code {done.returncode}; run again with BENCH_DEBUG=1 for its errors")
    return json.loads(done.stdout.strip().rpartition("\n")[2])


def show(result: dict[str, Any]) -> None:
    """Print the tables."""
    sides = list(CLIENTS)
    print(f"\ntrials per second, training nothing ({result['trials']:,} trials, medians of {result['rounds']} rounds)")
    print(f"{'workers':34}" + "".join(f"{side:>12}" for side in sides) + f"{'ours/Optuna':>13}{'ours/Ray':>10}")
    for count in CLIENTS["ours"]:
        rows = [result["rates"][side].get(str(count)) for side in sides]
        values = [row["trials_per_s"] if row else None for row in rows]
        ratios = [values[0] / value if value else None for value in values[1:]]
        print(f"{count:<34}" + "".join(_cell(v, 12) for v in values) + _cell(ratios[0], 13) + _cell(ratios[1], 10))
    ones = [result["rates"][side]["1"]["trial_ms"] for side in sides]
    print(f"{'one worker, ms per trial':34}" + "".join(_cell(v, 12) for v in ones))
    print(f"\na new process continues a study of {result['restart_trials']:,} trials")
    for label, key in (("time until it serves, s", "serving_s"), ("memory, MiB", "rss_mib")):
        print(f"{label:34}" + "".join(_cell(result["restart"][side][key], 12) for side in sides))


def _cell(value: float | None, width: int) -> str:
    return f"{'-':>{width}}" if value is None else f"{value:{width},.1f}"


if __name__ == "__main__":
    main()
