"""When a worker is healthy and ready."""

import time
from http import HTTPStatus

import grpc
import pytest

from tests.support.chief import RunningChief
from tests.support.scrape import get, scrape, until
from tuner import names
from tuner.monitoring.catalogue import Role
from tuner.monitoring.endpoint import Monitor, serving
from tuner.monitoring.metric_names import Metric
from tuner.rpc import lease_service
from tuner.training import devices
from tuner.worker import heartbeat
from tuner.worker.chief_client import ChiefClient, Grant
from tuner.worker.heartbeat import HeartbeatThread
from tuner.worker.run import show


@pytest.fixture
def short_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeat, "BEAT_LATE_S", 0.2)


@pytest.mark.usefixtures("short_patience")
def test_a_worker_whose_heart_beats_is_healthy_and_one_whose_heart_stands_still_is_not(
    client: ChiefClient, grant: Grant
) -> None:
    with HeartbeatThread(client) as heartbeat_thread:
        began = time.time()
        heartbeat_thread.begin(grant)
        until("a heartbeat", lambda: heartbeat_thread.answered_at > began)
        assert heartbeat_thread.problem() == ""
    idle_thread = HeartbeatThread(client)
    assert until("the heartbeat to be late", idle_thread.problem).startswith("the heartbeat is ")


@pytest.mark.usefixtures("short_patience")
def test_a_worker_that_ends_is_not_taken_for_one_that_hangs(client: ChiefClient) -> None:
    with HeartbeatThread(client) as heartbeat_thread:
        pass
    time.sleep(0.3)
    assert heartbeat_thread.problem() == ""


def test_a_worker_is_ready_while_the_chief_answers_it(client: ChiefClient, chief: RunningChief, grant: Grant) -> None:
    monitor = Monitor(Role.WORKER)
    with HeartbeatThread(client) as heartbeat_thread, serving(monitor, {names.ENV_HTTP: "127.0.0.1:0"}) as address:
        assert address is not None
        at = f"{address.host}:{address.port}"
        show(monitor, heartbeat_thread, lease_s=1.5)
        heartbeat_thread.begin(grant)
        assert until("readiness", lambda: get(at, names.HTTP_READY).status == HTTPStatus.OK)
        chief.stop()
        unready = until("unreadiness", lambda: (page := get(at, names.HTTP_READY)).status != HTTPStatus.OK and page)
        assert unready.text.startswith("the chief has answered no heartbeat for ")
        assert get(at, names.HTTP_HEALTHY).status == HTTPStatus.OK  # to start it again would not help
        chief.start()
        assert until("readiness", lambda: get(at, names.HTTP_READY).status == HTTPStatus.OK)
        assert scrape(at).value(Metric.WORKER_BEAT) > time.time() - 60


def test_the_chief_knows_which_gpus_a_worker_finds(
    client: ChiefClient, chief: RunningChief, grant: Grant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "gpu_count", lambda: 2)
    monkeypatch.setattr(devices, "_model_of_gpu", lambda: "NVIDIA H200")
    with HeartbeatThread(client) as heartbeat_thread, grpc.insecure_channel(chief.address) as channel:
        lease = lease_service.LeaseStub(channel)
        assert [worker.gpus for worker in lease.status(20).workers] == [None]  # it has not counted them yet
        show(Monitor(Role.WORKER), heartbeat_thread, lease_s=1.5)
        heartbeat_thread.begin(grant)
        assert until("the number", lambda: [worker.gpus for worker in lease.status(20).workers] == [2])
        assert [worker.device for worker in lease.status(20).workers] == ["2 x NVIDIA H200"]
