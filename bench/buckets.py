"""Buckets: the libraries and the kinds beside each other, on servers of this machine.

There are three parts:

- `libraries`: reading from gs:// by google-cloud-storage, which cifake-tune uses, and by obstore. Sides take turns.
  Writing cannot be compared, because obstore writes with Google's XML interface, which fake-gcs-server lacks.
- `kinds`: small and large objects in buckets of every kind.
- `chief`: the chief with 1,000 workers on a bucket with a latency of 50 ms, on S3 and on Google Cloud Storage in turns.

    bench/buckets.py [--part libraries|kinds|chief]… [--rounds 3] [--json FILE]
"""

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from bench.search import swarm  # noqa: E402
from tests.support.gcs_emulator import running_emulator  # noqa: E402
from tests.support.object_servers import running_azure, running_s3  # noqa: E402
from tuner.bucket import Bucket, open_bucket  # noqa: E402

SMALL_BYTES, LARGE_BYTES = 1 << 10, 64 << 20
SMALL_OBJECTS, LARGE_OBJECTS = 300, 2
TRIALS, TRAIN_S = 1_200, 2.5
MIB = 1 << 20
IMPORTS = {"google": "google.cloud.storage", "obstore": "obstore.store"}


class ObstoreOfGoogle:
    """The service with which `ObjectStoreBucket` would read gs://."""

    create_command = permission = credentials = endpoint_variable = certificates_variable = ""

    def __init__(self, bucket: str, endpoint: str) -> None:
        self.url, self.bucket, self.endpoint = f"gs://{bucket}", bucket, endpoint

    def open(self, timeout_s: float, retry_s: float) -> Any:
        """Return obstore's client."""
        from obstore.store import GCSStore

        account = {"client_email": "", "private_key": "", "private_key_id": ""}
        key = json.dumps({**account, "gcs_base_url": self.endpoint, "disable_oauth": True})
        return GCSStore(self.bucket, config={"service_account_key": key}, client_options={"allow_http": True})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts: dict[str, Callable[[int], object]] = {"libraries": libraries, "kinds": kinds, "chief": chief}
    parser.add_argument("--part", action="append", choices=tuple(parts))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, default=ROOT / "bench" / "results" / "buckets.json")
    arguments = parser.parse_args()
    result = json.loads(arguments.json.read_text()) if arguments.json.exists() else {}
    result |= {"cores": len(os.sched_getaffinity(0)), "python": sys.version.split()[0]}
    for part in arguments.part or parts:
        result[part] = parts[part](arguments.rounds)
        result["rounds"] = {**result.get("rounds", {}), part: arguments.rounds}
        arguments.json.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


def libraries(rounds: int) -> dict[str, dict[str, float]]:
    """Return the medians of each library."""
    from tuner.bucket.object_store import ObjectStoreBucket

    with running_emulator() as emulator, variables({"STORAGE_EMULATOR_HOST": emulator.url}):
        name = emulator.new_bucket()
        ours = open_bucket(f"gs://{name}")
        sides: dict[str, Bucket] = {"google": ours, "obstore": ObjectStoreBucket(ObstoreOfGoogle(name, emulator.url))}
        fill(ours)
        rows: dict[str, list[dict[str, float]]] = {side: [] for side in sides}
        for number in range(rounds):
            for side in in_turn(sides, number):
                rows[side].append({"import_s": import_s(IMPORTS[side]), **reading(sides[side])})
    return medians(rows)


def kinds(rounds: int) -> dict[str, dict[str, float]]:
    """Return the medians of each kind of bucket."""
    with contextlib.ExitStack() as stack:
        emulator, s3 = stack.enter_context(running_emulator()), stack.enter_context(running_s3(install=True))
        azure, folder = stack.enter_context(running_azure()), stack.enter_context(tempfile.TemporaryDirectory())
        stack.enter_context(variables({"STORAGE_EMULATOR_HOST": emulator.url, **s3.environment()}))
        stack.enter_context(variables(dict(azure.environment())))
        urls = {"folder": folder, "gs": f"gs://{emulator.new_bucket()}", "s3": f"s3://{s3.new_bucket()}"}
        buckets = {kind: open_bucket(url) for kind, url in (urls | {"az": f"az://{azure.new_bucket()}"}).items()}
        rows: dict[str, list[dict[str, float]]] = {kind: [] for kind in buckets}
        for number in range(rounds):
            for kind in in_turn(buckets, number):
                rows[kind].append(fill(buckets[kind], f"{number}/") | reading(buckets[kind], f"{number}/"))
    return medians(rows)


def chief(rounds: int) -> dict[str, dict[str, float]]:
    """Return the medians of the chief on each kind of bucket."""
    rows: dict[str, list[dict[str, Any]]] = {"gs": [], "s3": []}
    with tempfile.TemporaryDirectory(prefix="cifake-tune-bench-") as folder:
        for number in range(rounds):
            for kind in in_turn(rows, number):
                rows[kind].append(swarm(Path(folder, f"{kind}-{number}"), TRIALS, TRAIN_S, kind))
    return medians(rows)


def fill(bucket: Bucket, prefix: str = "") -> dict[str, float]:
    """Write small and large objects, and return how long it took."""
    creates = [
        seconds(lambda number=number: bucket.create(f"{prefix}small/{number}", os.urandom(SMALL_BYTES)))  # type: ignore[misc]
        for number in range(SMALL_OBJECTS)
    ]
    with tempfile.NamedTemporaryFile() as file:
        file.write(os.urandom(LARGE_BYTES))
        file.flush()
        uploads = [
            seconds(lambda number=number: bucket.upload(f"{prefix}large/{number}", Path(file.name)))  # type: ignore[misc]
            for number in range(LARGE_OBJECTS)
        ]
    return {"create_ms": 1000 * statistics.median(creates), "upload_mib_per_s": LARGE_BYTES / MIB / min(uploads)}


def reading(bucket: Bucket, prefix: str = "") -> dict[str, float]:
    """Read small and large objects, and return how long it took, and the processor time of a small one."""
    began = time.process_time()
    reads = [
        seconds(lambda number=number: bucket.read(f"{prefix}small/{number}"))  # type: ignore[misc]
        for number in range(SMALL_OBJECTS)
    ]
    cpu_s = time.process_time() - began
    with tempfile.TemporaryDirectory() as folder:
        downloads = [
            seconds(lambda number=number: bucket.download(f"{prefix}large/{number}", Path(folder, "copy")))  # type: ignore[misc]
            for number in range(LARGE_OBJECTS)
        ]
    return {
        "read_ms": 1000 * statistics.median(reads),
        "read_cpu_ms": 1000 * cpu_s / SMALL_OBJECTS,
        "download_mib_per_s": LARGE_BYTES / MIB / min(downloads),
    }


def seconds(action: Callable[[], object]) -> float:
    """Return the duration of an action."""
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def import_s(module: str) -> float:
    """Return the duration of an import in a new process."""
    code = f"import time; began = time.perf_counter(); import {module}; print(time.perf_counter() - began)"
    return float(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True).stdout)


def in_turn(sides: Any, number: int) -> list[str]:
    """Return the names of the sides, backwards in every second round."""
    return list(sides) if number % 2 == 0 else list(reversed(sides))


def medians(rows: dict[str, list[dict[str, Any]]]) -> dict[str, dict[str, float]]:
    """Return the median of each figure for each side."""
    return {side: {key: statistics.median(row[key] for row in of) for key in of[0]} for side, of in rows.items()}


@contextlib.contextmanager
def variables(values: dict[str, str]) -> Iterator[None]:
    """Set variables of the environment within the block."""
    os.environ.update(values)
    try:
        yield
    finally:
        for variable in values:
            os.environ.pop(variable, None)


if __name__ == "__main__":
    main()
