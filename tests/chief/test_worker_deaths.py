"""A worker killed at its memory limit cannot report it, so the chief reads it from the worker's pod."""

import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc.aio
import pytest

from k8s.cluster.client import ApiRefusedError
from k8s.cluster.objects import Pod
from k8s.worker_pods import WorkerPods
from tests.support.service import Chief, messages, with_chief
from tuner import names
from tuner.chief import worker_deaths
from tuner.chief.worker_deaths import Pods, WorkerDeaths
from tuner.errors import EnvironmentFailure
from tuner.rpc import lease_service
from tuner.study.records import Outcome

STATUS = {
    "phase": "Failed",
    "containerStatuses": [
        {
            "name": "worker",
            "state": {"terminated": {"exitCode": 137, "reason": "OOMKilled", "startedAt": "2026-11-29T17:00:00Z"}},
            "lastState": {},
            "ready": False,
            "restartCount": 0,
        }
    ],
}
"""Status of a worker's pod as a kubelet 1.34 reports it after the kernel has killed the worker."""


class FakeCluster:
    """Has one pod."""

    def __init__(self, status: Any, refusal: int = 0) -> None:
        self._pod = Pod.model_validate({"metadata": {"name": "worker-0-abcde"}, "status": status})
        self._refusal = refusal

    def get(self, kind: type[Pod], name: str) -> Pod:
        assert (kind, name) == (Pod, "worker-0-abcde")
        if self._refusal:
            raise ApiRefusedError("the pod cannot be read.", self._refusal, "no")
        return self._pod


def killed(status: Any, refusal: int = 0) -> bool:
    return WorkerPods(FakeCluster(status, refusal)).was_out_of_memory("worker-0-abcde")  # type: ignore[arg-type]


def test_the_pods_status_says_whether_its_worker_was_killed_at_the_memory_limit() -> None:
    assert killed(STATUS)
    evicted = {"phase": "Failed", "reason": "Evicted"}
    failed = {"containerStatuses": [{"name": "worker", "state": {"terminated": {"exitCode": 137, "reason": "Error"}}}]}
    sidecar = {"containerStatuses": [{**STATUS["containerStatuses"][0], "name": "sidecar"}]}  # type: ignore[dict-item]
    running = {"containerStatuses": [{"name": "worker", "state": {"running": {}}}]}
    assert [killed(status) for status in (evicted, failed, sidecar, running)] == [False] * 4
    assert not killed(STATUS, refusal=404)  # the pod was deleted
    with pytest.raises(EnvironmentFailure):
        killed(STATUS, refusal=403)


class OnePod(Pods):
    """Answers for the pod `worker-0-abcde`, as often as it is asked."""

    def __init__(self, answer: Callable[[], bool]) -> None:
        self._answer = answer

    def was_out_of_memory(self, pod: str) -> bool:
        return pod == "worker-0-abcde" and self._answer()


def talk_of_a_death(
    folder: Path, answer: Callable[[], bool], end: Callable[[Chief, Any], Awaitable[None]], pod: str = "worker-0-abcde"
) -> tuple[Outcome, str]:
    """Lease a trial to a worker, let it end, and return the attempt's outcome and reason."""

    async def talk(chief: Chief, channel: grpc.aio.Channel) -> None:
        chief.service.deaths = WorkerDeaths(OnePod(answer))

        async def join() -> lease_service.Joined:
            call = channel.unary_unary(f"/{names.LEASE_SERVICE}/Join")
            request = lease_service.Join(worker="w0", incarnation="i", pod=pod)
            return lease_service.Joined.model_validate_json(await call(request.model_dump_json().encode(), timeout=20))

        joined = await join()
        create = channel.unary_unary(
            "/keras_tuner.Oracle/CreateTrial",
            request_serializer=messages.CreateTrialRequest.SerializeToString,
        )
        metadata = ((names.METADATA_INCARNATION, joined.incarnation),)
        await create(messages.CreateTrialRequest(tuner_id="w0"), metadata=metadata, timeout=20)
        await end(chief, join)

    trial = with_chief(folder, talk).state.trials[names.TrialId("00000")]
    (outcome,) = trial.outcomes
    return outcome, trial.reason


async def expire(chief: Chief, join: Any) -> None:
    """Let the lease expire."""
    chief.service.oracle.extend_leases(-3600)
    await chief.service.expire()


async def replace(chief: Chief, join: Any) -> None:
    """Let another process of the worker join."""
    await join()


@pytest.mark.parametrize("end", [expire, replace])
def test_a_worker_killed_at_its_memory_limit_is_out_of_memory(
    tmp_path: Path, end: Callable[[Chief, Any], Awaitable[None]]
) -> None:
    outcome, reason = talk_of_a_death(tmp_path, lambda: True, end)
    assert outcome is Outcome.OUT_OF_MEMORY
    assert "worker w0 was killed because its pod exceeded its memory limit (OOMKilled)" in reason


@pytest.mark.parametrize("end", [expire, replace])
@pytest.mark.parametrize("pod", ["worker-0-abcde", "another", ""])
def test_a_worker_that_ended_otherwise_is_lost(
    tmp_path: Path, end: Callable[[Chief, Any], Awaitable[None]], pod: str
) -> None:
    outcome, _ = talk_of_a_death(tmp_path, lambda: pod != "worker-0-abcde", end, pod)
    assert outcome is Outcome.LOST


def refuse() -> bool:
    raise EnvironmentFailure("the Role does not allow it.")


def hang() -> bool:
    time.sleep(1.0)
    return True


@pytest.mark.parametrize(("answer", "sentence"), [(refuse, "the Role does not allow it."), (hang, "did not answer")])
def test_without_an_answer_of_the_cluster_the_worker_is_lost(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    answer: Callable[[], bool],
    sentence: str,
) -> None:
    monkeypatch.setattr(worker_deaths, "PATIENCE_S", 0.2)
    outcome, _ = talk_of_a_death(tmp_path, answer, expire)
    assert outcome is Outcome.LOST
    assert sentence in caplog.text


def test_a_heartbeat_tells_a_new_chief_the_workers_pod(tmp_path: Path) -> None:
    async def talk(chief: Chief, channel: grpc.aio.Channel) -> None:
        beat = lease_service.Heartbeat(worker="w0", incarnation="1.1.i", pod="worker-0-abcde")
        call = channel.unary_unary(f"/{names.LEASE_SERVICE}/Heartbeat")
        await call(beat.model_dump_json().encode(), timeout=20)
        assert chief.service.workers.entries["w0"].pod == "worker-0-abcde"

    with_chief(tmp_path, talk)
