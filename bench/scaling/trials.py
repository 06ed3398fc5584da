"""Cost of a study by its number of trials, compared with bare Keras Tuner: processor time, memory, restart."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import grpc

from bench.chief.clients import threads
from bench.chief.processes import STUDY, first_line, our_chief, prepare, role, sample
from bench.scaling.rows import medians
from tests.support.children import ending
from tests.support.gcs_emulator import free_port

CLIENTS = 16
WARM = 20
"""Number of trials before the measurement starts, since the first ones include one-time costs."""
SIDES = ("ours", "bare")


@dataclass(frozen=True)
class Row:
    """One study, or the medians of several of the same size."""

    size: int
    cpu_ms_per_trial: float
    trials_per_s: float
    rss_mib: float
    restart_s: float | None
    """Seconds from a new chief's imports until it serves; None for bare Keras Tuner."""
    restart_rss_mib: float | None


def measure(folder: Path, sizes: Sequence[int], rounds: int) -> dict[str, list[dict[str, float | None]]]:
    """Run both sides in turns, size by size, and return the medians of each side."""
    rows: dict[str, list[Row]] = {side: [] for side in SIDES}
    for size in sizes:
        of_size: dict[str, list[Row]] = {side: [] for side in SIDES}
        for number in range(rounds):
            for side in SIDES if number % 2 == 0 else reversed(SIDES):
                place = folder / f"{size}-{number}-{side}"
                place.mkdir()
                row = (ours if side == "ours" else bare)(place, size)
                of_size[side].append(row)
                print(f"{size:,} trials, {side}: {row.cpu_ms_per_trial:.2f} ms of processor time each", flush=True)
        for side in SIDES:
            rows[side].append(medians(of_size[side]))
    return {side: [asdict(row) for row in of] for side, of in rows.items()}


def ours(folder: Path, size: int) -> Row:
    """Run a study with cifake-tune's chief, then start another chief on it."""
    bucket, port, trials = str(folder / "bucket"), free_port(), WARM + size + 1  # the last one is never requested
    digest = prepare(bucket)
    with ending(our_chief(bucket, digest, trials, port)) as chief:
        row = _run(chief.pid, port, size)
    study = [*STUDY, f"search.max_trials={trials}"]
    with ending(role("restarted", bucket=bucket, study=study, digest=digest, port=free_port())) as restarted:
        serving_s = json.loads(first_line(restarted))["serving_s"]
        return replace(row, restart_s=serving_s, restart_rss_mib=sample(restarted.pid).mib)


def bare(folder: Path, size: int) -> Row:
    """Run a study with Keras Tuner's own chief."""
    port = free_port()
    with ending(role("bare", folder=str(folder), trials=WARM + size + 1, port=port)) as chief:
        return _run(chief.pid, port, size)


def _run(pid: int, port: int, size: int) -> Row:
    address = f"127.0.0.1:{port}"
    with grpc.insecure_channel(address) as channel:
        grpc.channel_ready_future(channel).result(120)
    threads(address, CLIENTS, WARM)
    first = sample(pid)
    threads(address, CLIENTS, size)
    last = sample(pid)
    cpu_ms = 1000 * (last.cpu_s - first.cpu_s) / size
    return Row(size, cpu_ms, size / (last.at - first.at), last.mib, None, None)
