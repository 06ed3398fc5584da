"""Processes of the chief's benchmarks: starting, sampling and ending them."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
STUDY = ("training.epochs=1", "search.early_stopping.policy=none")


def prepare(bucket: str) -> str:
    """Pack the sample into a bucket and return its digest."""
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
    command = [sys.executable, *PROFILE, "-m", "cifake_tune", "chief", "--bucket", bucket, *settings]
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=STDERR, text=True)


STDERR = None if "BENCH_DEBUG" in os.environ else subprocess.DEVNULL
PROFILE = os.environ.get("BENCH_PROFILE", "").split()
"""Python options for the chief, such as `-m cProfile -o FILE`."""


def role(name: str, **arguments: object) -> subprocess.Popen[str]:
    """Start a role of `bench/chief/roles.py`."""
    command = [sys.executable, "-m", "bench.chief.roles", name, json.dumps(arguments)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
    if name == "bare":
        environment |= {"KERASTUNER_TUNER_ID": "chief", "KERASTUNER_ORACLE_IP": "127.0.0.1"}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=STDERR, text=True)


def first_line(process: subprocess.Popen[str]) -> str:
    """Return the line that a process prints when it is ready."""
    assert process.stdout is not None
    return process.stdout.readline()


def answer(process: subprocess.Popen[str]) -> dict[str, list[float]]:
    """Wait for the end of a process and return the JSON that it printed."""
    output, _ = process.communicate()
    if process.returncode:
        raise SystemExit(f"a process of the benchmark failed with exit code {process.returncode}")
    return json.loads(output)


@dataclass(frozen=True)
class Sample:
    """Resident memory and total processor time of a process at one moment (`at`: seconds, monotonic)."""

    at: float
    mib: float
    cpu_s: float


def sample(pid: int) -> Sample:
    """Take a sample of a process. Raises OSError if it has ended."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    ticks = sum(map(int, Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[11:13]))
    mib = pages * os.sysconf("SC_PAGE_SIZE") / 2**20
    return Sample(time.monotonic(), mib, ticks / os.sysconf("SC_CLK_TCK"))


def await_port(port: int) -> None:
    """Wait until a process listens on the port."""
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.1)


@contextlib.contextmanager
def watched(pid: int) -> Iterator[list[Sample]]:
    """Sample a process every half second within the block, and yield the list of samples."""
    samples: list[Sample] = []
    ended = threading.Event()

    def take_samples() -> None:
        while not ended.wait(0.5):
            with contextlib.suppress(OSError, IndexError):
                if (current := sample(pid)).mib:  # 0 for a process that has ended
                    samples.append(current)

    thread = threading.Thread(target=take_samples)
    thread.start()
    try:
        yield samples
    finally:
        ended.set()
        thread.join()
