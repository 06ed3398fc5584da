"""A study's cost by its number of trials, beside bare Keras Tuner: processor time for one, memory, a restart."""

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
"""Trials that come before the clock: the first ones pay for what is made once."""
SIDES = ("ours", "bare")


@dataclass(frozen=True)
class Row:
    """One study, or the medians of several of the same size."""

    size: int
    cpu_ms_per_trial: float
    trials_per_s: float
    rss_mib: float
    restart_s: float | None
    """From a new chief's imports to its service; of ours alone."""
    restart_rss_mib: float | None


def measure(folder: Path, sizes: Sequence[int], rounds: int) -> dict[str, list[dict[str, float | None]]]:
    """Let both sides take turns, size by size, and return the medians of each."""
    rows: dict[str, list[Row]] = {side: [] for side in SIDES}
    for size in sizes:
        found: dict[str, list[Row]] = {side: [] for side in SIDES}
        for number in range(rounds):
            for side in SIDES if number % 2 == 0 else reversed(SIDES):
                place = folder / f"{size}-{number}-{side}"
                place.mkdir()
                row = (ours if side == "ours" else bare)(place, size)
                found[side].append(row)
                print(f"{size:,} trials, {side}: {row.cpu_ms_per_trial:.2f} ms of processor time each", flush=True)
        for side in SIDES:
            rows[side].append(medians(found[side]))
    return {side: [asdict(row) for row in of] for side, of in rows.items()}


def ours(folder: Path, size: int) -> Row:
    """Run a study with our chief, then start another chief on what it left."""
    bucket, port, trials = str(folder / "bucket"), free_port(), WARM + size + 1  # the last is never asked for
    digest = prepare(bucket)
    with ending(our_chief(bucket, digest, trials, port)) as chief:
        row = _run(chief.pid, port, size)
    study = [*STUDY, f"search.max_trials={trials}"]
    with ending(role("restarted", bucket=bucket, study=study, digest=digest, port=free_port())) as again:
        serving_s = json.loads(first_line(again))["serving_s"]
        return replace(row, restart_s=serving_s, restart_rss_mib=sample(again.pid).mib)


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
    before = sample(pid)
    threads(address, CLIENTS, size)
    after = sample(pid)
    cpu_ms = 1000 * (after.cpu_s - before.cpu_s) / size
    return Row(size, cpu_ms, size / (after.at - before.at), after.mib, None, None)
