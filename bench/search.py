"""How many trials a second the chief hands out and takes back, beside bare Keras Tuner.

Two parts, each with the chief in a process of its own and simulated workers (`bench/clients.py`) in another:

- `bare`: 16 clients, a local disk; our chief and bare Keras Tuner's oracle behind its own gRPC server take turns.
- `swarm`: 1,000 workers, a real fake-gcs-server behind a proxy that adds 50 ms to each request; then a new chief is
  started on the study that they left. Beside it, what a server that only answers reaches with them.

    bench/search.py [--part bare|swarm]… [--trials N] [--json FILE]
"""

import argparse
import asyncio
import contextlib
import json
import logging
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.support.gcs_emulator import free_port, running_emulator  # noqa: E402

CLIENTS, WORKERS = 16, 1000
STUDY = ("training.epochs=1", "search.early_stopping.policy=none")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", action="append", choices=("bare", "swarm"))
    parser.add_argument("--trials", type=int, default=5000, help="of the comparison with bare Keras Tuner")
    parser.add_argument("--swarm-trials", type=int, default=10_000)
    parser.add_argument("--train-s", type=float, action="append", help="seconds a trial takes; default 2.5 and 0.5")
    parser.add_argument("--json", type=Path, default=ROOT / "bench" / "results" / "search.json")
    parser.add_argument("--role", choices=tuple(ROLES), help=argparse.SUPPRESS)
    parser.add_argument("--arguments", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.role:
        ROLES[arguments.role](**json.loads(arguments.arguments))
        return
    parts = arguments.part or ["bare", "swarm"]
    result: dict[str, object] = {"cores": len(os.sched_getaffinity(0)), "python": sys.version.split()[0]}
    with tempfile.TemporaryDirectory(prefix="cifake-tune-bench-") as folder:
        if "bare" in parts:
            result["bare"] = compare(Path(folder), arguments.trials)
        if "swarm" in parts:
            result["swarm"] = [
                swarm(Path(folder) / str(train_s), arguments.swarm_trials, train_s)
                for train_s in arguments.train_s or (2.5, 0.5)
            ]
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps(result, indent=2) + "\n")
    show(result)


# ---- roles: what runs in processes of their own ---------------------------------------------------
def bare_chief(folder: str, trials: int, port: int) -> None:
    """Keras Tuner's oracle behind its own server, as its distributed mode starts it."""
    import keras_tuner
    from keras_tuner.src.distribute import oracle_chief

    oracle = keras_tuner.oracles.RandomSearchOracle(
        objective=keras_tuner.Objective("val_accuracy", "max"), max_trials=trials, seed=1
    )
    oracle.verbose = 0
    oracle._set_project_dir(folder, "bare")
    oracle.update_space(_seed_space())
    os.environ["KERASTUNER_ORACLE_PORT"] = str(port)
    oracle_chief.start_server(oracle)


def clients(address: str, count: int) -> None:
    """The comparison's clients."""
    import grpc

    from bench.clients import threads

    with grpc.insecure_channel(address) as channel:
        grpc.channel_ready_future(channel).result(120)
    _print_times(threads(address, count))


def workers(address: str, count: int, train_s: float) -> None:
    """The swarm."""
    from bench.clients import swarm as run_swarm

    _print_times(asyncio.run(run_swarm(address, count, train_s)))


def servicer(trials: int, port: int) -> None:
    """A server that only answers."""
    from bench.servicer import serve

    serve(_seed_space(), trials, port)


def proxy(target: str, port: int) -> None:
    """The network in front of the bucket."""
    from tests.support.fault_proxy import _main

    asyncio.run(_main(["--target", target, "--port", str(port), "--latency-ms", "50"]))


def restarted_chief(bucket: str, study: list[str], digest: str, port: int) -> None:
    """A chief on a study that is there; prints how long after its imports it serves."""
    from tuner import chief, spaces
    from tuner.bucket import open_bucket
    from tuner.bucket.gcs import GcsBucket  # noqa: F401  (an import too)
    from tuner.config import load
    from tuner.metrics.catalogue import Role
    from tuner.monitor import Monitor

    spaces.load_space(load().space, (32, 32, 3), 2).build(_hyperparameters())  # Keras's imports, and its first model
    began = time.perf_counter()

    class Announce(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "listens" in record.getMessage():
                print(json.dumps({"serving_s": time.perf_counter() - began}), flush=True)

    logging.getLogger("tuner.chief").addHandler(Announce())
    logging.getLogger("tuner.chief").setLevel(logging.INFO)
    address = chief.Address("127.0.0.1", port)
    chief.run_chief(open_bucket(bucket), load(settings=study), digest, address, None, None, Monitor(Role.CHIEF))


def _seed_space():  # type: ignore[no-untyped-def]
    from tuner import spaces
    from tuner.config import load

    return spaces.explore(spaces.load_space(load().space, (32, 32, 3), 2), (32, 32, 3))


def _hyperparameters():  # type: ignore[no-untyped-def]
    import keras_tuner

    return keras_tuner.HyperParameters()


def _print_times(times) -> None:  # type: ignore[no-untyped-def]
    began = min(ended - s for ended, s in zip(times.ended, times.create_s, strict=True))
    print(json.dumps({**vars(times), "ended": [ended - began for ended in times.ended]}), flush=True)


ROLES = {
    "bare": bare_chief,
    "clients": clients,
    "workers": workers,
    "servicer": servicer,
    "proxy": proxy,
    "restarted": restarted_chief,
}


# ---- the parts --------------------------------------------------------------------------------------
def compare(folder: Path, trials: int) -> dict[str, object]:
    """Our chief and bare Keras Tuner's on a local disk."""
    sides = {}
    for side in ("ours", "bare"):
        port = free_port()
        place = folder / side
        place.mkdir()
        if side == "bare":
            chief = role("bare", folder=str(place), trials=trials, port=port)
        else:
            chief = our_chief(str(place / "bucket"), prepare(str(place / "bucket")), trials, port)
        with ending(chief):
            began = time.perf_counter()
            times = answer(role("clients", address=f"127.0.0.1:{port}", count=CLIENTS))
            print(f"{side}: {len(times['ended'])} trials in {time.perf_counter() - began:.1f} s", flush=True)
        sides[side] = _rates(times)
    return {**sides, "ratio": sides["ours"]["trials_per_s"] / sides["bare"]["trials_per_s"], "trials": trials}


def swarm(folder: Path, trials: int, train_s: float) -> dict[str, object]:
    """1,000 workers on a bucket that is 50 ms away, then a new chief on what they left."""
    folder.mkdir()
    with running_emulator() as emulator, contextlib.ExitStack() as stack:
        name = emulator.new_bucket()
        proxy_port, port = free_port(), free_port()
        behind = role("proxy", target=emulator.url, port=proxy_port)
        stack.enter_context(ending(behind))
        behind.stdout.readline()
        os.environ["STORAGE_EMULATOR_HOST"] = f"http://127.0.0.1:{proxy_port}"
        bucket = f"gs://{name}"
        digest = prepare(bucket)
        chief = our_chief(bucket, digest, trials, port)
        with ending(chief), _watched(chief.pid) as seen:
            await_port(port)
            seen.clear()
            times = answer(role("workers", address=f"127.0.0.1:{port}", count=WORKERS, train_s=train_s))
        row = {"train_s": train_s, "workers": WORKERS, "trials": trials, **_rates(times), **_memory_of(seen)}
        row["cpu_ms_per_trial"] = 1000 * (seen[-1].cpu_s - seen[0].cpu_s) / trials
        floor = answers_only(trials, train_s)
        row |= {f"servicer_{key}": floor[key] for key in ("trials_per_s", "create_ms_p50", "create_ms_p99")}
        row["of_servicer"] = row["trials_per_s"] / floor["trials_per_s"]
        print(f"swarm, {train_s} s a trial: {row['trials_per_s']:.0f} trials/s", flush=True)
        study = [*STUDY, f"search.max_trials={trials + 1}"]
        again = role("restarted", bucket=bucket, study=study, digest=digest, port=free_port())
        with ending(again):
            row |= json.loads(again.stdout.readline())
        del os.environ["STORAGE_EMULATOR_HOST"]
        return row


def answers_only(trials: int, train_s: float) -> dict[str, float]:
    """The same workers with a server that only answers."""
    port = free_port()
    with ending(role("servicer", trials=trials, port=port)):
        await_port(port)
        times = answer(role("workers", address=f"127.0.0.1:{port}", count=WORKERS, train_s=train_s))
    return _rates(times)


def prepare(bucket: str) -> str:
    """Pack the sample into a bucket, and return its digest."""
    from tuner.bucket import open_bucket
    from tuner.data.pack import pack

    return pack(None, open_bucket(bucket)).digest


def our_chief(bucket: str, digest: str, trials: int, port: int) -> subprocess.Popen[str]:
    """Start `cifake-tune chief`."""
    settings = [part for setting in (*STUDY, f"search.max_trials={trials}") for part in ("--set", setting)]
    environment = {
        **os.environ,
        "CIFAKE_TUNE_DATA": digest,
        "KERASTUNER_TUNER_ID": "chief",
        "KERASTUNER_ORACLE_IP": "127.0.0.1",
        "KERASTUNER_ORACLE_PORT": str(port),
        "PYTHONPATH": str(ROOT),
    }
    command = [sys.executable, *PROFILE, "-m", "tuner.cli", "chief", "--bucket", bucket, *settings]
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=STDERR, text=True)


STDERR = None if "BENCH_DEBUG" in os.environ else subprocess.DEVNULL
PROFILE = os.environ.get("BENCH_PROFILE", "").split()
"""Options of Python for the chief, such as `-m cProfile -o FILE`."""


def role(name: str, **arguments: object) -> subprocess.Popen[str]:
    """Start a process of `ROLES`."""
    command = [sys.executable, __file__, "--role", name, "--arguments", json.dumps(arguments)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
    if name == "bare":
        environment |= {"KERASTUNER_TUNER_ID": "chief", "KERASTUNER_ORACLE_IP": "127.0.0.1"}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=STDERR, text=True)


def answer(process: subprocess.Popen[str]) -> dict[str, list[float]]:
    """Return what a process prints once it has ended."""
    output, _ = process.communicate()
    if process.returncode:
        raise SystemExit(f"a part of the benchmark ended with {process.returncode}")
    return json.loads(output)


@contextlib.contextmanager
def ending(process: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    """End a process at the end."""
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@dataclass(frozen=True)
class Sample:
    """What a process had at one moment."""

    mib: float
    cpu_s: float


def await_port(port: int) -> None:
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.1)


@contextlib.contextmanager
def _watched(pid: int) -> Iterator[list[Sample]]:
    """Sample a process every half second, from its first service on."""
    samples: list[Sample] = []
    over = threading.Event()

    def sample() -> None:
        while not over.wait(0.5):
            with contextlib.suppress(OSError, IndexError):
                pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
                ticks = sum(map(int, Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[11:13]))
                if pages:  # one that has ended has none
                    mib = pages * os.sysconf("SC_PAGE_SIZE") / 2**20
                    samples.append(Sample(mib, ticks / os.sysconf("SC_CLK_TCK")))

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield samples
    finally:
        over.set()
        thread.join()


def _memory_of(samples: list[Sample]) -> dict[str, float]:
    """Return the growth from a third of the time to its end, and the processor time a trial."""
    after = samples[len(samples) // 3 :]
    return {"rss_mib": after[-1].mib, "rss_growth": after[-1].mib / after[0].mib - 1}


def _rates(times: dict[str, list[float]]) -> dict[str, float]:
    ended = sorted(times["ended"])
    part = len(ended) // 5
    first, last = ended[part - 1], ended[-1] - ended[-part - 1]
    # while all are at work: neither the start, when all ask at once, nor the end
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
        print(f"\n{compared['trials']:,} random trials, {CLIENTS} clients, a local disk")
        print(f"{'':34}{'bare Keras Tuner':>18}{'ours':>10}{'ours/bare':>11}")
        for label, key in (
            ("trials/s", "trials_per_s"),
            ("last fifth's time over the first's", "last_fifth_over_first"),
            ("create, ms, median", "create_ms_p50"),
            ("create, ms, p99", "create_ms_p99"),
        ):
            bare, ours = compared["bare"][key], compared["ours"][key]
            print(f"{label:34}{bare:18,.2f}{ours:10,.2f}{ours / bare:11.2f}")
    if rows := result.get("swarm"):
        print(f"\n{rows[0]['trials']:,} trials, {WORKERS:,} workers, a bucket that is 50 ms away")
        print(f"{'':34}" + "".join(f"{row['train_s']:>12} s" for row in rows) + "   a trial")
        for label, key, scale in (
            ("trials/s", "trials_per_s", 1),
            ("  while all are at work", "steady_trials_per_s", 1),
            ("create, ms, median", "create_ms_p50", 1),
            ("create, ms, p99", "create_ms_p99", 1),
            ("  while all are at work", "steady_create_ms_p99", 1),
            ("report, ms, p99", "report_ms_p99", 1),
            ("end, ms, p99", "end_ms_p99", 1),
            ("chief's processor, ms a trial", "cpu_ms_per_trial", 1),
            ("chief's memory, MiB", "rss_mib", 1),
            ("  growth after a third, %", "rss_growth", 100),
            ("a new chief serves after, s", "serving_s", 1),
            ("a server that only answers:", "servicer_trials_per_s", 1),
            ("  create, ms, median", "servicer_create_ms_p50", 1),
            ("  create, ms, p99", "servicer_create_ms_p99", 1),
            ("  our trials/s, as a share of its", "of_servicer", 1),
        ):
            print(f"{label:34}" + "".join(f"{scale * row[key]:14,.2f}" for row in rows))


if __name__ == "__main__":
    main()
