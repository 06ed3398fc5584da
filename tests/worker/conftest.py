"""A real chief on loopback, a worker's client of it, and small models."""

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import keras_tuner
import pytest

from tests.support.chief import RunningChief, running_chief
from tuner.bucket.local import LocalBucket
from tuner.config.loading import load
from tuner.config.settings import Study
from tuner.rpc import lease_service
from tuner.worker.chief_client import ChiefClient, Grant

STUDY = load(  # random: a slow algorithm suggests trials before a worker waits for one
    settings=[
        "search.algorithm=random", "search.max_trials=3", "training.epochs=6", "search.early_stopping.policy=none",
        "retries.failure=5",
    ]
)  # fmt: skip


def nothing() -> None:
    """A `check` that finds nothing wrong."""


@pytest.fixture
def study() -> Study:
    return STUDY


@pytest.fixture
def bucket(tmp_path: Path) -> LocalBucket:
    return LocalBucket(tmp_path / "bucket")


@pytest.fixture
def chief(bucket: LocalBucket, study: Study) -> Iterator[RunningChief]:
    space = keras_tuner.HyperParameters()
    space.Int("units", 1, 100)
    with running_chief(bucket, study, space) as running:
        yield running


@pytest.fixture
def signals() -> Iterator[None]:
    """Restore the signal handlers after a test with a `StopSignal`."""
    previous_handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    signal.set_wakeup_fd(-1)
    for number, handler in previous_handlers.items():
        signal.signal(number, handler)


@pytest.fixture
def new_client(chief: RunningChief) -> Iterator[Callable[[str], ChiefClient]]:
    """Return a function that makes the client of a new worker process: `new_client("name")` has joined."""
    channels = []

    def make(name: str) -> ChiefClient:
        channel = grpc.insecure_channel(chief.address, options=[*lease_service.OPTIONS, *IMPATIENT])
        channels.append(channel)
        client = ChiefClient(channel, chief.address, name, f"incarnation-{len(channels)}", lambda: None)
        client.join()
        return client

    yield make
    for channel in channels:
        channel.close()


IMPATIENT = [("grpc.max_reconnect_backoff_ms", 200), ("grpc.initial_reconnect_backoff_ms", 100)]


@pytest.fixture
def client(new_client: Callable[[str], ChiefClient]) -> ChiefClient:
    return new_client("w0")


@pytest.fixture
def grant(client: ChiefClient) -> Grant:
    grant = client.next_trial(nothing)
    assert grant is not None
    return grant
