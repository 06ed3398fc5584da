"""Two processes of one name, one of them a zombie: a restarted chief distinguishes them too."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import keras_tuner
import pytest
from keras_tuner.src import protos

from tests.support.chief import RunningChief, running_chief
from tests.support.service import messages
from tuner import names
from tuner.bucket.local import LocalBucket
from tuner.chief.worker_registry import WorkerRegistry
from tuner.config.loading import load
from tuner.rpc import lease_service
from tuner.search.leases import Worker
from tuner.study.state import StudyState

OLD, NEW = Worker("w", "old"), Worker("w", "new")


@pytest.fixture
def chief(tmp_path: Path) -> Iterator[RunningChief]:
    space = keras_tuner.HyperParameters()
    space.Int("units", 1, 100_000)
    with running_chief(LocalBucket(tmp_path), load(settings=["search.max_trials=3"]), space) as running:
        yield running


class Client:
    """The calls of a worker process."""

    def __init__(self, channel: grpc.Channel, worker: Worker) -> None:
        self._lease = lease_service.LeaseStub(channel)
        self._oracle = protos.get_service_grpc().OracleStub(channel)
        self._worker = worker

    @property
    def _identity(self) -> dict[str, Any]:
        return {"worker": self._worker.name, "incarnation": self._worker.incarnation}

    def join(self) -> None:
        joined = self._lease.join(lease_service.Join(**self._identity), 20)
        self._worker = Worker(self._worker.name, joined.incarnation)

    def take(self) -> str:
        metadata = [(names.METADATA_INCARNATION, self._worker.incarnation)]
        request = messages.CreateTrialRequest(tuner_id=self._worker.name)
        trial_id: str = self._oracle.CreateTrial(request, metadata=metadata, timeout=20).trial.trial_id
        return trial_id

    def holds(self, trial: str | None = None, attempt: int = 0) -> bool:
        return self._lease.heartbeat(lease_service.Heartbeat(**self._identity, trial=trial, attempt=attempt), 20).held


def test_a_zombie_that_a_new_chief_hears_first_does_not_take_the_place_of_who_is_at_work(chief: RunningChief) -> None:
    with grpc.insecure_channel(chief.address, lease_service.OPTIONS) as channel:
        zombie, real = Client(channel, OLD), Client(channel, NEW)
        zombie.join()
        trial = zombie.take()
        real.join()
        assert real.take() == trial
        chief.stop()
        chief.start()
        grpc.channel_ready_future(channel).result(20)
        assert not zombie.holds(trial, 1)
        with pytest.raises(grpc.RpcError) as refused:
            zombie.take()
        assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION
        assert real.holds(trial, 2)

    def attempts(state: StudyState) -> tuple[int, str | None]:
        return state.trials[names.TrialId(trial)].attempts, state.trials[names.TrialId(trial)].incarnation

    assert chief.ask(attempts) == (2, "1.2.new")


def test_an_idle_worker_keeps_its_name_though_a_new_chief_hears_a_zombie_first(chief: RunningChief) -> None:
    with grpc.insecure_channel(chief.address, lease_service.OPTIONS) as channel:
        zombie, real = Client(channel, OLD), Client(channel, NEW)
        zombie.join()
        real.join()
        chief.stop()
        chief.start()
        grpc.channel_ready_future(channel).result(20)
        assert zombie.holds()  # no other process of this name is known
        trial = real.take()
        assert not zombie.holds()
        with pytest.raises(grpc.RpcError) as refused:
            zombie.take()
        assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION
        assert real.holds(trial, 1)


def test_a_name_belongs_to_who_has_joined_now_whatever_others_call_themselves() -> None:
    registry = WorkerRegistry([], term=2)
    newest = registry.join("w", "a")
    for other in ("9.9.b", "2.9.b", "1.1.b", "b"):
        assert registry.record_call(Worker("w", other)).worker == newest


def test_a_lease_of_an_earlier_chief_is_no_call_to_this_one() -> None:
    worker = Worker("w", "1.1.a")
    registry = WorkerRegistry([worker], term=2)
    assert [status.heard for status in registry.status()] == [False]
    assert registry.record_call(worker).heard
    assert [status.heard for status in registry.status()] == [True]
    rejoined = WorkerRegistry([worker], term=3)
    rejoined.join("w", "b")
    assert [status.heard for status in rejoined.status()] == [True]
