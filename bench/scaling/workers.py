"""Cost of a chief by its number of workers: trials per second, waiting time, processor time, memory, bucket writes.

Each worker has a separate connection, and waits instead of training. The bucket is a real fake-gcs-server with a
latency of 50 ms. The cost of a heartbeat is measured separately, with workers that each hold one long trial.
"""

import asyncio
import contextlib
import os
import resource
import statistics
from bisect import bisect
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

from bench.chief.clients import Times, swarm
from bench.chief.processes import Sample, await_port, first_line, our_chief, prepare, role, sample, watched
from bench.scaling.rows import medians
from tests.support.children import ending
from tests.support.gcs_emulator import free_port, running_emulator
from tuner import names
from tuner.bucket import open_bucket
from tuner.config.loading import load

LATENCY_MS = 50
"""Latency that the role `proxy` adds to each request of the bucket."""
TRAIN_S = 0.5
"""Duration of a trial, so short that a thousand workers demand more than two cores, which makes the knee visible."""
TRIALS_EACH = 20
"""Number of trials per worker, within the following limits."""
LEAST_TRIALS, MOST_TRIALS = 20, 6000
REPORTS = 10
"""Number of additional epochs per trial, to measure the cost of a report."""
HOLD_S = 30.0
"""Duration of the trials for which heartbeats are measured."""
SETTLED_S = 12.0
"""Seconds until all workers have a trial and send heartbeats; the longest interval between heartbeats is 10 s."""


@dataclass(frozen=True)
class Row:
    """Measurements of one size."""

    size: int
    trials: int
    trials_per_s: float
    """While all workers have trials, like the latencies: without the start, when all ask at once, and the end."""
    create_ms_p50: float
    create_ms_p99: float
    report_ms_p50: float
    report_ms_p99: float
    wait_ms_per_trial: float
    """Mean duration of a trial's three calls together."""
    cpu_ms_per_trial: float
    segments_per_s: float
    rss_mib: float


@dataclass(frozen=True)
class Beats:
    """Cost of heartbeats."""

    workers: int
    beats_per_s: float
    cpu_ms_per_beat: float
    """Total processor time of the chief while it receives only heartbeats, including its own chores."""


def measure(sizes: Sequence[int], rounds: int, train_s: float = TRAIN_S) -> dict[str, object]:
    """Return the medians by size, and the cost of reports and heartbeats."""
    _allow_connections(max(sizes))
    rows = []
    for size in sizes:
        of_size = []
        for _ in range(rounds):
            of_size.append(row := at_work(size, train_s))
            print(f"{size:,} workers: {row.trials_per_s:.1f} trials/s, create {row.create_ms_p50:.0f} ms", flush=True)
        rows.append(asdict(medians(of_size)))
    reporting = statistics.median(cpu_ms_per_report(sizes[-2]) for _ in range(rounds))
    print(f"{reporting:.2f} ms of processor time per report", flush=True)
    beating = medians([beats(max(sizes)) for _ in range(rounds)])
    print(f"{beating.workers:,} workers: {beating.cpu_ms_per_beat:.2f} ms of processor time per heartbeat", flush=True)
    return {
        "latency_ms": LATENCY_MS,
        "train_s": train_s,
        "rows": rows,
        "cpu_ms_per_report": reporting,
        "beats": asdict(beating),
    }


def at_work(size: int, train_s: float, epochs: int = 1) -> Row:
    """Run a study with `size` workers."""
    trials = min(MOST_TRIALS, max(LEAST_TRIALS, TRIALS_EACH * size))
    with distant_bucket() as bucket:
        port = free_port()
        with ending(our_chief(bucket, prepare(bucket), trials, port)) as chief:
            await_port(port)
            first = sample(chief.pid)
            with watched(chief.pid) as samples:
                times = asyncio.run(swarm(f"127.0.0.1:{port}", size, train_s, connections=size, epochs=epochs))
            last = samples[-1] if samples else first
        segments = sum(1 for _ in open_bucket(bucket).list(names.journal_prefix(load().name)))
    return _row(size, trials, times, first, last, segments)


def cpu_ms_per_report(size: int) -> float:
    """Return the chief's processor time for an epoch's report, from trials with many epochs and with one."""
    one, many = (at_work(size, TRAIN_S, epochs).cpu_ms_per_trial for epochs in (1, 1 + REPORTS))
    return (many - one) / REPORTS


def beats(size: int) -> Beats:
    """Measure heartbeats of `size` workers that hold one trial each."""
    with distant_bucket() as bucket:
        port = free_port()
        with ending(our_chief(bucket, prepare(bucket), size, port)) as chief:
            await_port(port)
            with watched(chief.pid) as samples:
                times = asyncio.run(swarm(f"127.0.0.1:{port}", size, HOLD_S, connections=size))
    first_end = min(times.ended) - 1.0
    window = [entry for entry in samples if first_end - (HOLD_S - SETTLED_S) < entry.at < first_end]
    took_s, cpu_s = window[-1].at - window[0].at, window[-1].cpu_s - window[0].cpu_s
    answered = sorted(times.beats)
    count = bisect(answered, window[-1].at) - bisect(answered, window[0].at)
    return Beats(size, count / took_s, 1000 * cpu_s / count)


@contextlib.contextmanager
def distant_bucket() -> Iterator[str]:
    """Yield the URL of a new bucket whose requests take 50 ms longer."""
    with running_emulator() as emulator:
        port = free_port()
        with ending(role("proxy", target=emulator.url, port=port)) as proxy:
            first_line(proxy)
            os.environ["STORAGE_EMULATOR_HOST"] = f"http://127.0.0.1:{port}"
            try:
                yield f"gs://{emulator.new_bucket()}"
            finally:
                del os.environ["STORAGE_EMULATOR_HOST"]


def _row(size: int, trials: int, times: Times, start: Sample, last: Sample, segments: int) -> Row:
    ended = sorted(times.ended)
    edge = len(ended) // 10
    first, end = ended[edge], ended[-1 - edge]
    steady = [number for number, at in enumerate(times.ended) if first < at <= end]
    creates, reports, ends = (
        [1000 * of[number] for number in steady] for of in (times.create_s, times.report_s, times.end_s)
    )
    began = min(at - s for at, s in zip(times.ended, times.create_s, strict=True))
    return Row(
        size=size,
        trials=trials,
        trials_per_s=len(steady) / (end - first),
        create_ms_p50=statistics.median(creates),
        create_ms_p99=_p99(creates),
        report_ms_p50=statistics.median(reports),
        report_ms_p99=_p99(reports),
        wait_ms_per_trial=statistics.mean(map(sum, zip(creates, reports, ends, strict=True))),
        cpu_ms_per_trial=1000 * (last.cpu_s - start.cpu_s) / trials,
        segments_per_s=segments / (ended[-1] - began),
        rss_mib=last.mib,
    )


def _p99(values: Sequence[float]) -> float:
    return statistics.quantiles(values, n=100)[98]


def _allow_connections(count: int) -> None:
    """Raise the limit of open files for this process and the chief that it starts."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 4 * count + 1024
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted if hard < 0 else min(wanted, hard), hard))
