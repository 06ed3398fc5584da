"""What ends without a user's help is no problem with exit code 3."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from kubernetes import client

from k8s.cluster.client import Cluster
from k8s.cluster.objects import Condition, Deployment, Event, Job, Pod
from k8s.cluster.text import shortened
from k8s.release.diagnosis import pod_problem
from k8s.release.lost_nodes import NodeStates
from k8s.release.release import Release
from k8s.release.status import ComponentView, State, view_release
from tests.k8s import captured
from tuner.errors import EnvironmentFailure


def release_with(**status: Any) -> Release:
    """Return the captured release without worker 1; the pod of worker 0 has this status."""
    pods = []
    for pod in captured.release_parts(Pod):
        if pod.index == 0:
            pods.append(pod.model_copy(update={"status": pod.status.model_copy(update=status)}))
        elif pod.index != 1:
            pods.append(pod)
    return Release(
        name="night",
        cluster=Cluster(client.Configuration(), "kube-demo"),
        jobs=captured.release_parts(Job),
        deployments=captured.release_parts(Deployment),
        pods=pods,
        events=[],
    )


def worker_0(release: Release) -> ComponentView:
    return view_release(release, {}, []).workers[0]


def disruption(reason: str, message: str = "") -> list[Condition]:
    return [Condition(type="DisruptionTarget", status="True", reason=reason, message=message)]


# ---- disruptions ----------------------------------------------------------------------------------
EVICTED = "was evicted, because its node is being drained or a user requested the eviction"


def test_a_real_evicted_pod_is_a_warning_until_its_replacement_exists() -> None:
    real = captured.pods()["preempted"].status
    row = worker_0(release_with(**{name: getattr(real, name) for name in type(real).model_fields}))
    assert (row.state, row.trouble, row.earlier) == (State.WAITING, None, EVICTED)


@pytest.mark.parametrize("reason", ["PreemptionByScheduler", "DeletionByTaintManager", "DeletionByPodGC"])
def test_a_pod_that_ends_for_a_reason_outside_of_it_is_a_warning(reason: str) -> None:
    row = worker_0(release_with(phase="Failed", conditions=disruption(reason)))
    assert row.trouble is None
    assert row.earlier


def test_a_pod_that_is_being_evicted_still_runs() -> None:
    row = worker_0(release_with(conditions=disruption("EvictionByEvictionAPI")))
    assert (row.state, row.trouble, row.risk) == (State.RUNNING, None, EVICTED)


def test_a_node_that_runs_out_of_memory_is_a_problem() -> None:
    message = "The node was low on resource: memory."
    conditions = disruption("TerminationByKubelet", message)
    row = worker_0(release_with(phase="Failed", reason="Evicted", message=message, conditions=conditions))
    assert row.trouble == "was evicted by its node: The node was low on resource: memory"


def test_an_evicted_pod_that_cannot_be_replaced_is_a_problem() -> None:
    release = release_with(phase="Failed", conditions=disruption("EvictionByEvictionAPI"))
    job = release.job("worker")
    assert job
    idle = job.model_copy(update={"status": job.status.model_copy(update={"active": 0})})
    refusal = next(event for event in captured.events() if event.reason == "FailedCreate" and "quota" in event.message)
    involved = refusal.involved_object.model_copy(update={"uid": job.metadata.uid})
    event: Event = refusal.model_copy(update={"involved_object": involved})
    jobs = [idle if one is job else one for one in release.jobs]
    row = worker_0(replace(release, jobs=jobs, events=[event]))
    assert (row.trouble or "").startswith("no pod can be created: the quota team")
    assert row.earlier == EVICTED


# ---- volumes that a node cannot attach yet ----------------------------------------------------------
SCHEDULED = datetime(2026, 11, 29, 17, 9, 0, tzinfo=UTC)
FORBIDDEN = (
    "Unable to attach or mount volumes: unmounted volumes=[bucket], unattached volumes=[bucket scratch tmp]: failed to "
    "process volumes=[bucket]: error processing PVC kube-demo/night-cifake-tune-bucket: persistentvolumeclaims "
    '"night-cifake-tune-bucket" is forbidden: User "system:node:node-2" cannot get resource "persistentvolumeclaims" '
    'in API group "" in the namespace "kube-demo": no relationship found between node \'node-2\' and this object'
)


def problem_after(seconds: float) -> str | None:
    pod = captured.pods()["no-secret-volume"]
    scheduled = Condition(type="PodScheduled", status="True", last_transition_time=SCHEDULED)
    pod = pod.model_copy(update={"status": pod.status.model_copy(update={"conditions": [scheduled]})})
    mounts = [event for event in captured.events() if event.involved_object.uid == pod.metadata.uid]
    events = [event.model_copy(update={"message": FORBIDDEN}) for event in mounts]
    return pod_problem(pod, events, states=NodeStates(SCHEDULED + timedelta(seconds=seconds)))


def test_a_node_that_tries_again_to_attach_a_volume_has_a_minute() -> None:
    assert problem_after(20) is None
    problem = problem_after(90) or ""
    assert problem.startswith("cannot start, and its node keeps trying: Unable to attach or mount volumes: ")
    assert problem.endswith('is forbidden: User "system:node:node-2" cannot get …')


@pytest.mark.parametrize(
    ("text", "expected"),
    [("one two", "one two"), ("one\n two", "one two"), ("one two three", "one two …"), ("abcdefghijkl", "abcdefgh …")],
)
def test_a_long_text_ends_with_a_whole_word(text: str, expected: str) -> None:
    assert shortened(text, 8) == expected


# ---- a stopped bucket -------------------------------------------------------------------------------
@pytest.mark.parametrize("is_searching", [True, False])
def test_a_stopped_bucket_is_a_problem_only_for_jobs_that_run(is_searching: bool) -> None:
    release = release_with()
    (bucket,) = release.deployments
    stopped = bucket.model_dump(by_alias=True)
    stopped["spec"]["replicas"], stopped["status"] = 0, {}
    jobs = [
        job if is_searching else job.model_copy(update={"status": job.status.model_copy(update={"active": 0})})
        for job in release.jobs
    ]
    pods = [pod for pod in release.pods if pod.component != "bucket"]
    release = replace(release, jobs=jobs, pods=pods, deployments=[Deployment.model_validate(stopped)])
    (row,) = [row for row in view_release(release, {}, []).components if row.component == "bucket"]
    assert row.state is State.STOPPED
    assert bool(row.trouble) is is_searching
    assert (row.trouble or row.risk or "").startswith("is stopped (bucket.emulator.replicas=0); set it to 1")
    with pytest.raises(EnvironmentFailure, match=r"bucket of release night is stopped \(bucket.emulator.replicas=0\)"):
        release.running("bucket")
