"""A pod whose processes are small programs, for tests."""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tuner.local import pod_workers
from tuner.local.gpu_inventory import GpuInventory
from tuner.local.gpu_room import GpuRoom
from tuner.local.pod_workers import PodWorkers
from tuner.monitoring.log_format import LogFormat

SERVER = """
import os, sys, time
from pathlib import Path
from tuner.address import parse_address
from tuner.monitoring.http_server import HttpServer, plain
from http import HTTPStatus
me, folder = os.environ["KERASTUNER_TUNER_ID"], Path(os.environ["FOLDER"])
def healthy(_):
    sick = (folder / f"{me}.sick").exists()
    return plain("the heartbeat is 40 s late", HTTPStatus.SERVICE_UNAVAILABLE) if sick else plain("ok")
def ready(_):
    return plain("ok") if (folder / f"{me}.ready").exists() else plain("the data is being loaded", HTTPStatus(503))
with HttpServer(parse_address(os.environ["CIFAKE_TUNE_HTTP"], "x"), {"/healthz": healthy, "/readyz": ready}):
    (folder / f"{me}.{os.getpid()}").touch()
    print("works", flush=True)
    while not (folder / f"{me}.done").exists():
        time.sleep(0.02)
"""
"""A process that serves its health until it is told to end."""


def runs(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    """Let the processes of a pod run this code."""
    monkeypatch.setattr(pod_workers, "program", lambda _: [sys.executable, "-c", code])


def pod(processes: int | GpuRoom) -> PodWorkers:
    """Return a pod with this number of processes."""
    return PodWorkers("worker-3", processes, GpuInventory(), LogFormat.TEXT)


@contextmanager
def during(act: Callable[[], None]) -> Iterator[None]:
    """Call `act` in a thread while the block runs, which is the main thread's, as the processes need it."""
    thread = threading.Thread(target=act)
    thread.start()
    try:
        yield
    finally:
        thread.join()


def until(condition: Callable[[], object]) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
