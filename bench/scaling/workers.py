"""A chief's cost by its number of workers: trials a second, what a worker waits, processor time, memory, bucket writes.

Each worker has a connection of its own, and trains by waiting. The bucket is a real fake-gcs-server, 50 ms away.
Then, apart, what a heartbeat costs: workers that hold one long trial each, and do nothing else.
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

LATENCY_MS = 50  # of the role `proxy`
TRAIN_S = 0.5
"""So short that a thousand workers ask for more than two cores give: the knee is to be seen."""
TRIALS_EACH = 20
LEAST_TRIALS, MOST_TRIALS = 20, 6000
REPORTS = 10
"""Epochs that a trial has more, to see what a report costs."""
HOLD_S = 30.0
"""The heartbeats' trials."""
SETTLED_S = 12.0
"""Of those, until all have one and beat: the longest way from one heartbeat to the next is 10 s."""


@dataclass(frozen=True)
class Row:
    """One size."""

    size: int
    trials: int
    trials_per_s: float
    """While all are at work, as the latencies: neither the start, when all ask at once, nor the end."""
    create_ms_p50: float
    create_ms_p99: float
    report_ms_p50: float
    report_ms_p99: float
    wait_ms_per_trial: float
    """Of a worker: the mean of what the three calls of a trial take."""
    cpu_ms_per_trial: float
    segments_per_s: float
    rss_mib: float


@dataclass(frozen=True)
class Beats:
    """What heartbeats cost."""

    workers: int
    beats_per_s: float
    cpu_ms_per_beat: float
    """All that the chief spends while nothing but heartbeats comes, so its own chores too."""


def measure(sizes: Sequence[int], rounds: int, train_s: float = TRAIN_S) -> dict[str, object]:
    """Return the medians by size, and the heartbeats'."""
    _allow_connections(max(sizes))
    rows = []
    for size in sizes:
        found = []
        for _ in range(rounds):
            found.append(row := at_work(size, train_s))
            print(f"{size:,} workers: {row.trials_per_s:.1f} trials/s, create {row.create_ms_p50:.0f} ms", flush=True)
        rows.append(asdict(medians(found)))
    reporting = statistics.median(cpu_ms_per_report(sizes[-2]) for _ in range(rounds))
    print(f"{reporting:.2f} ms of processor time a report", flush=True)
    beating = medians([beats(max(sizes)) for _ in range(rounds)])
    print(f"{beating.workers:,} workers: {beating.cpu_ms_per_beat:.2f} ms of processor time a heartbeat", flush=True)
    return {
        "latency_ms": LATENCY_MS,
        "train_s": train_s,
        "rows": rows,
        "cpu_ms_per_report": reporting,
        "beats": asdict(beating),
    }


def at_work(size: int, train_s: float, epochs: int = 1) -> Row:
    """Let so many workers run a study."""
    trials = min(MOST_TRIALS, max(LEAST_TRIALS, TRIALS_EACH * size))
    with distant_bucket() as bucket:
        port = free_port()
        with ending(our_chief(bucket, prepare(bucket), trials, port)) as chief:
            await_port(port)
            before = sample(chief.pid)
            with watched(chief.pid) as seen:
                times = asyncio.run(swarm(f"127.0.0.1:{port}", size, train_s, connections=size, epochs=epochs))
            last = seen[-1] if seen else before
        segments = sum(1 for _ in open_bucket(bucket).list(names.journal_prefix(load().name)))
    return _row(size, trials, times, before, last, segments)


def cpu_ms_per_report(size: int) -> float:
    """Return what an epoch's report costs the chief: of trials with many epochs, what they cost more than with one."""
    one, many = (at_work(size, TRAIN_S, epochs).cpu_ms_per_trial for epochs in (1, 1 + REPORTS))
    return (many - one) / REPORTS


def beats(size: int) -> Beats:
    """Let so many workers hold a trial each."""
    with distant_bucket() as bucket:
        port = free_port()
        with ending(our_chief(bucket, prepare(bucket), size, port)) as chief:
            await_port(port)
            with watched(chief.pid) as seen:
                times = asyncio.run(swarm(f"127.0.0.1:{port}", size, HOLD_S, connections=size))
    first_end = min(times.ended) - 1.0
    window = [each for each in seen if first_end - (HOLD_S - SETTLED_S) < each.at < first_end]
    took_s, cpu_s = window[-1].at - window[0].at, window[-1].cpu_s - window[0].cpu_s
    answered = sorted(times.beats)
    count = bisect(answered, window[-1].at) - bisect(answered, window[0].at)
    return Beats(size, count / took_s, 1000 * cpu_s / count)


@contextlib.contextmanager
def distant_bucket() -> Iterator[str]:
    """Yield the URL of a new bucket, each of whose requests takes 50 ms longer."""
    with running_emulator() as emulator:
        port = free_port()
        with ending(role("proxy", target=emulator.url, port=port)) as proxy:
            first_line(proxy)
            os.environ["STORAGE_EMULATOR_HOST"] = f"http://127.0.0.1:{port}"
            try:
                yield f"gs://{emulator.new_bucket()}"
            finally:
                del os.environ["STORAGE_EMULATOR_HOST"]


def _row(size: int, trials: int, times: Times, before: Sample, last: Sample, segments: int) -> Row:
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
        cpu_ms_per_trial=1000 * (last.cpu_s - before.cpu_s) / trials,
        segments_per_s=segments / (ended[-1] - began),
        rss_mib=last.mib,
    )


def _p99(values: Sequence[float]) -> float:
    return statistics.quantiles(values, n=100)[98]


def _allow_connections(count: int) -> None:
    """Raise this process's limit of open files, and so the chief's, which it starts."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 4 * count + 1024
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted if hard < 0 else min(wanted, hard), hard))
