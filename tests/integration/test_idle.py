"""Workers without work: how often they ask, and how soon they have it when there is some."""

import functools
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import keras_tuner
import pytest

from tests.integration.support import RUN_S, SPACES, Place, python_with
from tests.support.chief import RunningChief, running_chief
from tuner import names
from tuner.config.loading import load
from tuner.names import TrialId
from tuner.study.records import Outcome, TrialState
from tuner.worker.chief_client import ChiefClient, Grant
from tuner.worker.heartbeat import HeartbeatThread

WINDOW_S = 5.0
TRIAL = TrialId("00000")

STOCK_WORKER = """
import sys
import keras_tuner
import numpy as np
from user_spaces import Tiny

x, y = np.zeros((16, 8, 8, 3), np.uint8), np.arange(16) % 2
tuner = keras_tuner.RandomSearch(
    Tiny((8, 8, 3), 2), objective="val_accuracy", max_trials=1, directory=sys.argv[1], project_name="stock"
)
tuner.search(x, y, validation_data=(x, y), epochs=1, verbose=0)
"""


class Calls(grpc.aio.ServerInterceptor):
    """Counts what a chief is asked."""

    def __init__(self) -> None:
        self.methods: list[str] = []

    async def intercept_service(self, continuation: Any, details: Any) -> Any:
        self.methods.append(details.method.rsplit("/", 1)[-1])
        return await continuation(details)


@dataclass
class Busy:
    """A chief whose only trial another worker holds."""

    chief: RunningChief
    calls: Calls
    holder: ChiefClient
    grant: Grant

    def give_back(self) -> float:
        """Let the trial be queued again; return when."""
        self.holder.give_back(self.grant, Outcome.PREEMPTED, "asked to")
        return time.monotonic()


@pytest.fixture
def busy(place: Place, monkeypatch: pytest.MonkeyPatch) -> Iterator[Busy]:
    calls, space = Calls(), keras_tuner.HyperParameters()
    space.Choice("units", [2, 4, 8, 16])
    monkeypatch.setattr(grpc.aio, "server", functools.partial(grpc.aio.server, interceptors=[calls]))
    with (
        running_chief(place.bucket, load(settings=["search.max_trials=1"]), space) as chief,
        grpc.insecure_channel(chief.address) as channel,
    ):
        holder = ChiefClient(channel, chief.address, "holder", "1", lambda: None)
        grant = holder.next_trial(lambda: None)
        assert grant is not None
        yield Busy(chief, calls, holder, grant)


def until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + RUN_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def calls_a_second(calls: Calls) -> float:
    calls_before, began = len(calls.methods), time.monotonic()
    time.sleep(WINDOW_S)  # a rate is measured over time
    return (len(calls.methods) - calls_before) / (time.monotonic() - began)


def test_our_worker_seldom_asks_and_has_work_at_once_when_there_is_some(busy: Busy) -> None:
    with grpc.insecure_channel(busy.chief.address) as channel:
        client = ChiefClient(channel, busy.chief.address, "idle", "1", lambda: None)
        granted: list[tuple[float, Grant | None]] = []
        with HeartbeatThread(client) as heartbeat_thread:

            def wait() -> None:
                grant = client.next_trial(lambda: None)
                granted.append((time.monotonic(), grant))

            waiting = threading.Thread(target=wait)
            waiting.start()
            until(lambda: busy.calls.methods.count("CreateTrial") == 2 and "Heartbeat" in busy.calls.methods)
            assert calls_a_second(busy.calls) < 0.5
            assert not granted
            at = busy.give_back()
            waiting.join(RUN_S)
            soon, grant = granted[0]
            assert grant is not None
            assert (grant.trial_id, grant.attempt) == (TRIAL, 2)
            assert soon - at < 0.5
            # it rests for long while it is idle, and yet the chief soon hears of the trial
            heartbeat_thread.begin(grant)
            until(lambda: (beat := busy.chief.service.workers.entries["idle"].heartbeat) and beat.trial == TRIAL)
            assert time.monotonic() - soon < 3


def test_a_stock_worker_seldom_asks_and_has_work_at_once_when_there_is_some(busy: Busy, place: Place) -> None:
    host, port = busy.chief.address.split(":")
    address = {names.ENV_ORACLE_IP: host, names.ENV_ORACLE_PORT: port, names.ENV_TUNER_ID: "tuner0"}
    stock = subprocess.Popen(
        [python_with(place.backend), "-c", STOCK_WORKER, str(place.folder)],
        env=place.environment | address | {"PYTHONPATH": str(SPACES)},
        stderr=(Path(place.folder) / "command-stock.err").open("wb"),
    )
    try:
        until(lambda: busy.calls.methods.count("CreateTrial") == 2 or stock.poll() is not None)
        assert calls_a_second(busy.calls) < 0.5
        at = busy.give_back()
        until(lambda: busy.chief.ask(lambda state: state.trials[TRIAL].worker == "tuner0"))
        assert time.monotonic() - at < 0.5
        assert stock.wait(RUN_S) == 0
        assert busy.chief.ask(lambda state: state.trials[TRIAL].state) is TrialState.COMPLETED
    finally:
        stock.kill()
        stock.wait()
