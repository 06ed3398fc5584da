"""Trials per second that the chief processes, compared with bare Keras Tuner.

There are two parts, each with the chief in one process and simulated workers (`bench/chief/clients.py`) in another:

- `bare`: 16 clients and a local disk. cifake-tune's chief and bare Keras Tuner's oracle behind its own gRPC server take
  turns, and medians of several rounds are shown.
- `swarm`: 1,000 workers and a real fake-gcs-server behind a proxy that adds 50 ms to each request. Then a new chief is
  started on the resulting study. For comparison, the same workers call a server that only answers.

    bench/search.py [--part bare|swarm]… [--trials N] [--rounds 3] [--json FILE]
"""

import argparse
import contextlib
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from bench.chief.processes import (  # noqa: E402
    STUDY,
    Sample,
    answer,
    await_port,
    first_line,
    our_chief,
    prepare,
    role,
    watched,
)
from tests.support.children import ending  # noqa: E402
from tests.support.gcs_emulator import free_port, running_emulator  # noqa: E402
from tests.support.object_servers import S3Server, running_s3  # noqa: E402

CLIENTS, WORKERS = 16, 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", action="append", choices=("bare", "swarm"))
    parser.add_argument(
        "--trials", type=int, default=5000, help="number of trials of the comparison with bare Keras Tuner"
    )
    parser.add_argument("--rounds", type=int, default=3, help="number of rounds of that comparison")
    parser.add_argument("--swarm-trials", type=int, default=10_000)
    parser.add_argument("--train-s", type=float, action="append", help="seconds per trial; default 2.5 and 0.5")
    parser.add_argument("--json", type=Path, default=ROOT / "bench" / "results" / "search.json")
    arguments = parser.parse_args()
    parts = arguments.part or ["bare", "swarm"]
    result: dict[str, object] = {"cores": len(os.sched_getaffinity(0)), "python": sys.version.split()[0]}
    with tempfile.TemporaryDirectory(prefix="cifake-tune-bench-") as folder:
        if "bare" in parts:
            result["bare"] = compare(Path(folder), arguments.trials, arguments.rounds)
        if "swarm" in parts:
            result["swarm"] = [
                swarm(Path(folder) / str(train_s), arguments.swarm_trials, train_s)
                for train_s in arguments.train_s or (2.5, 0.5)
            ]
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps(result, indent=2) + "\n")
    show(result)


def compare(folder: Path, trials: int, rounds: int) -> dict[str, object]:
    """Compare cifake-tune's chief with bare Keras Tuner's on a local disk."""
    rows: dict[str, list[dict[str, float]]] = {"ours": [], "bare": []}
    for number in range(rounds):
        for side in rows if number % 2 == 0 else reversed(rows):
            place = folder / f"{side}-{number}"
            place.mkdir()
            rows[side].append(_rates(_searched(side, place, trials)))
            print(f"round {number + 1}, {side}: {rows[side][-1]['trials_per_s']:.1f} trials/s", flush=True)
    sides = {side: {key: statistics.median(row[key] for row in of) for key in of[0]} for side, of in rows.items()}
    ratio = sides["ours"]["trials_per_s"] / sides["bare"]["trials_per_s"]
    return {**sides, "ratio": ratio, "trials": trials, "rounds": rounds}


def _searched(side: str, place: Path, trials: int) -> dict[str, list[float]]:
    port = free_port()
    if side == "bare":
        chief = role("bare", folder=str(place), trials=trials, port=port)
    else:
        chief = our_chief(str(place / "bucket"), prepare(str(place / "bucket")), trials, port)
    with ending(chief):
        return answer(role("clients", address=f"127.0.0.1:{port}", count=CLIENTS))


@contextlib.contextmanager
def far_bucket(kind: str) -> Iterator[str]:
    """Yield the URL of a bucket (`gs` or `s3`) with a latency of 50 ms, to which the environment leads."""
    with running_s3(install=True) if kind == "s3" else running_emulator() as server:
        port = free_port()
        behind = role("proxy", target=server.url, port=port, keep_host=kind == "s3")
        with ending(behind):
            first_line(behind)
            url = f"http://127.0.0.1:{port}"
            variables = server.environment(url) if isinstance(server, S3Server) else {"STORAGE_EMULATOR_HOST": url}
            os.environ.update(variables)
            yield f"{kind}://{server.new_bucket()}"
            for variable in variables:
                del os.environ[variable]


def swarm(folder: Path, trials: int, train_s: float, kind: str = "gs") -> dict[str, object]:
    """Run 1,000 workers on a bucket with a latency of 50 ms, then start a new chief on their study."""
    folder.mkdir()
    with far_bucket(kind) as bucket:
        port = free_port()
        digest = prepare(bucket)
        chief = our_chief(bucket, digest, trials, port)
        with ending(chief), watched(chief.pid) as samples:
            await_port(port)
            samples.clear()
            times = answer(role("workers", address=f"127.0.0.1:{port}", count=WORKERS, train_s=train_s))
        row: dict[str, Any] = {
            "train_s": train_s,
            "workers": WORKERS,
            "trials": trials,
            **_rates(times),
            **_memory_of(samples),
        }
        row["cpu_ms_per_trial"] = 1000 * (samples[-1].cpu_s - samples[0].cpu_s) / trials
        floor = answers_only(trials, train_s)
        row |= {f"servicer_{key}": floor[key] for key in ("trials_per_s", "create_ms_p50", "create_ms_p99")}
        row["of_servicer"] = row["trials_per_s"] / floor["trials_per_s"]
        print(f"swarm on {kind}://, {train_s} s per trial: {row['trials_per_s']:.0f} trials/s", flush=True)
        study = [*STUDY, f"search.max_trials={trials + 1}"]
        restarted = role("restarted", bucket=bucket, study=study, digest=digest, port=free_port())
        with ending(restarted):
            row |= json.loads(first_line(restarted))
        return row


def answers_only(trials: int, train_s: float) -> dict[str, float]:
    """Run the same workers with a server that only answers."""
    port = free_port()
    with ending(role("servicer", trials=trials, port=port)):
        await_port(port)
        times = answer(role("workers", address=f"127.0.0.1:{port}", count=WORKERS, train_s=train_s))
    return _rates(times)


def _memory_of(samples: list[Sample]) -> dict[str, float]:
    """Return the memory at the end, and its growth after a third of the time."""
    after = samples[len(samples) // 3 :]
    return {"rss_mib": after[-1].mib, "rss_growth": after[-1].mib / after[0].mib - 1}


def _rates(times: dict[str, list[float]]) -> dict[str, float]:
    ended = sorted(times["ended"])
    part = len(ended) // 5
    first, last = ended[part - 1], ended[-1] - ended[-part - 1]
    # while all are working: neither the start, when all ask at the same time, nor the end
    steady = ended[len(ended) // 10], ended[-len(ended) // 10]
    creates = [s for s, at in zip(times["create_s"], times["ended"], strict=True) if steady[0] < at < steady[1]]
    return {
        "steady_create_ms_p99": 1000 * statistics.quantiles(creates, n=100)[98],
        "trials_per_s": len(ended) / ended[-1],
        "steady_trials_per_s": 0.8 * len(ended) / (steady[1] - steady[0]),
        "last_fifth_over_first": last / first,
        **{
            f"{call}_ms_p{quantile}": 1000 * statistics.quantiles(times[f"{call}_s"], n=100)[quantile - 1]
            for call in ("create", "report", "end")
            for quantile in (50, 99)
        },
    }


def show(result: dict[str, Any]) -> None:
    """Print the tables."""
    if compared := result.get("bare"):
        print(f"\n{compared['trials']:,} random trials, {CLIENTS} clients, local disk")
        print(f"{'':34}{'bare Keras Tuner':>18}{'ours':>10}{'ours/bare':>11}")
        for label, key in (
            ("trials/s", "trials_per_s"),
            ("time of the last fifth / the first", "last_fifth_over_first"),
            ("create, ms, median", "create_ms_p50"),
            ("create, ms, p99", "create_ms_p99"),
        ):
            bare, ours = compared["bare"][key], compared["ours"][key]
            print(f"{label:34}{bare:18,.2f}{ours:10,.2f}{ours / bare:11.2f}")
    if rows := result.get("swarm"):
        print(f"\n{rows[0]['trials']:,} trials, {WORKERS:,} workers, a bucket with a latency of 50 ms")
        print(f"{'':34}" + "".join(f"{row['train_s']:>12} s" for row in rows) + "   per trial")
        for label, key, scale in (
            ("trials/s", "trials_per_s", 1),
            ("  while all are working", "steady_trials_per_s", 1),
            ("create, ms, median", "create_ms_p50", 1),
            ("create, ms, p99", "create_ms_p99", 1),
            ("  while all are working", "steady_create_ms_p99", 1),
            ("report, ms, p99", "report_ms_p99", 1),
            ("end, ms, p99", "end_ms_p99", 1),
            ("chief's processor, ms per trial", "cpu_ms_per_trial", 1),
            ("chief's memory, MiB", "rss_mib", 1),
            ("  growth after a third, %", "rss_growth", 100),
            ("time until a new chief serves, s", "serving_s", 1),
            ("a server that only answers:", "servicer_trials_per_s", 1),
            ("  create, ms, median", "servicer_create_ms_p50", 1),
            ("  create, ms, p99", "servicer_create_ms_p99", 1),
            ("  ours / its trials/s", "of_servicer", 1),
        ):
            print(f"{label:34}" + "".join(f"{scale * row[key]:14,.2f}" for row in rows))


if __name__ == "__main__":
    main()
