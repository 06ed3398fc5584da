"""The command: `python -m tests.chaos --faults 200 --seed 1`. Exits 0 where all were played and none hurt."""

import argparse
import json
import os
import random
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from rich.table import Table

from tests.chaos.bucket_log import BucketLog
from tests.chaos.cast import Cast, inherited
from tests.chaos.checker import check
from tests.chaos.front import running_front
from tests.chaos.report import console, print_verdict, verdict_json
from tests.chaos.runner import Progress, Run
from tests.chaos.schedule import Kind, make_schedule
from tests.chaos.stage import Stage
from tests.integration.support import coloured_images
from tests.support.disks import small_disk
from tests.support.fault_proxy import FaultProxy, Faults, running_proxy
from tests.support.gcs_emulator import running_emulator
from tests.support.object_servers import running_s3
from tuner import names
from tuner.bucket import Bucket, open_bucket
from tuner.config.loading import dump, load
from tuner.config.settings import DEFAULT_TRIALS, Study
from tuner.data.pack import pack

LEASE_S = 3.0
TRIALS_PER_FAULT = 1.5
DISK_KIB = 64 << 10
SPACE = Path(__file__).parent / "space"
PROGRESS_S = 5.0


def main() -> int:
    """Run, judge, print."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--faults", type=int, default=200)
    parser.add_argument("--seed", type=int, help="of the schedule; default: a random one, which is printed")
    parser.add_argument("--bucket-kind", choices=("gcs", "s3"), default="gcs", help="default: %(default)s")
    parser.add_argument("--workers", type=int, default=4, help="at first; faults add and remove some")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="setting of the study, more often"
    )
    parser.add_argument("--json", type=Path, help="write the result there, too")
    parser.add_argument("--keep", type=Path, help="folder for logs and marks; default: a temporary one")
    options = parser.parse_args()
    seed = random.SystemRandom().randrange(2**31) if options.seed is None else options.seed
    console.print(f"chaos: {options.faults} faults, seed {seed}, bucket {options.bucket_kind}")
    with ExitStack() as stack:
        folder = options.keep or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="chaos-")))
        folder.mkdir(parents=True, exist_ok=True)
        study = _study(seed, options.faults, options.set)
        network = _network(stack, options.bucket_kind, seed)
        run = _run(stack, folder, study, network, seed, options.faults, options.workers)
        left = run.go()
    verdict = check(left)
    _print_faults(run)
    print_verdict(verdict)
    played = run.done.total() == options.faults
    if not played:
        console.print(f"Only {run.done.total()} of {options.faults} faults were played before the end.")
    if options.json:
        result = {
            "seed": seed,
            "bucket": options.bucket_kind,
            "faults": {kind.name.lower(): count for kind, count in run.done.items()},
            "seconds": round(run.seconds, 1),
            **verdict_json(verdict),
        }
        options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    if not verdict.holds and options.keep:
        console.print(f"Logs: {options.keep}")
    return 0 if verdict.holds and played else 1


@dataclass(frozen=True)
class Network:
    """A bucket on a server, seen without the proxy, and the environment that leads to it through the proxy."""

    bucket: Bucket
    proxy: FaultProxy
    environment: Mapping[str, str]


def _network(stack: ExitStack, kind: str, seed: int) -> Network:
    if kind == "s3":
        server = stack.enter_context(running_s3(install=True))
        proxy = stack.enter_context(running_proxy(server.url, Faults(seed=seed), keep_host=True))
        os.environ.update(server.environment())
        return Network(open_bucket(f"s3://{server.new_bucket()}"), proxy, server.environment(proxy.url))
    emulator = stack.enter_context(running_emulator())
    proxy = stack.enter_context(running_proxy(emulator.url, Faults(seed=seed)))
    os.environ["STORAGE_EMULATOR_HOST"] = emulator.url
    return Network(open_bucket(f"gs://{emulator.new_bucket()}"), proxy, {"STORAGE_EMULATOR_HOST": proxy.url})


def _run(stack: ExitStack, folder: Path, study: Study, network: Network, seed: int, faults: int, workers: int) -> Run:
    front = stack.enter_context(running_front())
    bucket = network.bucket
    manifest = pack(str(coloured_images(folder / "images")), bucket)
    study_file = folder / "study.yaml"
    study_file.write_text(yaml.safe_dump(dump(study)), encoding="utf-8")
    marks = folder / "marks.jsonl"
    logs = folder / "logs"
    logs.mkdir(exist_ok=True)
    threads = dict.fromkeys(("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS", "NPROC"), "1")
    environment = (
        inherited()
        | threads
        | {
            **network.environment,
            "CUDA_VISIBLE_DEVICES": "-1",
            "CHAOS_EVIDENCE": str(marks),
            names.ENV_BUCKET: bucket.url,
            names.ENV_CACHE: str(folder / "cache"),
            names.ENV_DATA: manifest.digest,
            names.ENV_STUDY_FILE: str(study_file),
        }
    )
    disk, left_out = folder / "disk", frozenset[Kind]()
    try:
        stack.enter_context(small_disk(disk, DISK_KIB))
    except pytest.skip.Exception as error:
        console.print(f"Left out: {Kind.DISK_FULL.sentence}, because {error}.")
        left_out = frozenset({Kind.DISK_FULL})
    log = BucketLog()
    network.proxy.observer = log
    stage = Stage(Cast(environment | {"TMPDIR": str(disk)}, logs), front, network.proxy, LEASE_S, disk)
    schedule = make_schedule(seed, faults, left_out)
    printer = _ProgressPrinter(study, faults)
    return Run(study, bucket, schedule, stage, workers, log, marks, printer.report_progress)


def _study(seed: int, faults: int, settings: Sequence[str]) -> Study:
    return load(
        settings=[
            "name=chaos",
            f"seed={seed % (2**31 - 1) + 1}",
            f"search.max_trials={round(10 + faults * TRIALS_PER_FAULT)}",
            "search.max_consecutive_failures=1000",  # some trials fail on purpose
            "training.epochs=4",
            "data.batch_size=16",
            "retries.preemption=100",  # no trial of this run is to be given up for what happens to workers
            f"leases.duration_s={LEASE_S}",
            "leases.chief_timeout_s=300.0",  # chiefs may be killed one after the other, each before it was of any use
            "space.import=chaos_space:ChaosSpace",
            f"space.code={SPACE}",
            *settings,
        ]
    )


class _ProgressPrinter:
    """Prints a line every few seconds, with the end in sight."""

    def __init__(self, study: Study, faults: int) -> None:
        self._trials = study.search.max_trials or DEFAULT_TRIALS
        self._faults = faults
        self._printed_at = -PROGRESS_S

    def report_progress(self, progress: Progress) -> None:
        """Print where it is worth a line."""
        if progress.seconds - self._printed_at < PROGRESS_S:
            return
        self._printed_at = progress.seconds
        remaining_s = progress.seconds / max(1, progress.trials) * (self._trials - progress.trials)
        newest = f"  {progress.newest.sentence}" if progress.newest else ""
        console.print(
            f"{progress.seconds:5.0f} s  fault {progress.faults:3}/{self._faults}  trials {progress.trials:3}/"
            f"{self._trials}  chief {progress.term:2}  workers {progress.workers}  "
            f"about {remaining_s:3.0f} s left{newest}"
        )


def _print_faults(run: Run) -> None:
    table = Table("fault", "times")
    for kind in Kind:
        table.add_row(kind.sentence, str(run.done[kind]))
    table.add_row("all", str(run.done.total()))
    console.print(table)
    met = ", ".join(f"{number:,} {fault.value}" for fault, number in sorted(run.stage.proxy.met.items(), key=str))
    console.print(f"{run.seconds:.0f} s; requests to the bucket: {met}")


if __name__ == "__main__":
    sys.exit(main())
