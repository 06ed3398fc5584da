"""A pod whose node is gone still has the phase Running; what shows it is named, with the node and the way out."""

import io
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from k8s.cluster.client import Cluster
from k8s.cluster.objects import Deployment, Event, Job, Pod
from k8s.cluster.resources import Node
from k8s.release.diagnosis import is_pulling
from k8s.release.lost_nodes import NodeStates, lost_pod_problem, read_nodes
from k8s.release.release import Release
from k8s.release.status import ReleaseView, State, view_release
from k8s.release.terminal import release_view
from tests.k8s import captured
from tests.support.api_server import cluster_at, running_api_server
from tuner.report.terminal.console import make_console
from tuner.study.status import WorkerStatus

MARKED = "2026-11-29T17:06:00Z"
NOW = datetime(2026, 11, 29, 17, 9, 0, tzinfo=UTC)
SINCE = "2026-11-29 17:06:00 UTC (3 min ago)"
DELETE = "if its machine is gone, run kubectl delete node node-2, so that the pod is replaced"


def worker(index: int = 0, **metadata: Any) -> dict[str, Any]:
    """Return a worker's pod as the API server has it while its node is fine."""
    parts = json.loads((captured.FOLDER / "release.json").read_text(encoding="utf-8"))["pods"]
    pod: dict[str, Any] = next(p for p in parts if f"-worker-e6e151ad-{index}-" in p["metadata"]["name"])
    pod["metadata"] |= metadata
    return pod


def lost(pod: dict[str, Any]) -> dict[str, Any]:
    """Return the pod as the control plane marks it when its node stops responding."""
    for condition in pod["status"]["conditions"]:
        if condition["type"] == "Ready":
            condition |= {"status": "False", "lastTransitionTime": MARKED}
    return pod


def node(status: str, reason: str) -> Node:
    ready = {"type": "Ready", "status": status, "reason": reason, "lastTransitionTime": MARKED}
    return Node.model_validate({"metadata": {"name": "node-2"}, "status": {"conditions": [ready]}})


UNKNOWN = node("Unknown", "NodeStatusUnknown")
NOT_READY = node("False", "KubeletNotReady")
READY = node("True", "KubeletReady")


@pytest.mark.parametrize(
    ("found", "sentence"),
    [
        (UNKNOWN, f"is on node node-2, which has not responded since {SINCE}; {DELETE}"),
        (NOT_READY, f"is on node node-2, which has not been ready since {SINCE}, KubeletNotReady; {DELETE}"),
        (None, "is on node node-2, which has been deleted; Kubernetes removes the pod within minutes"),
    ],
)
def test_the_nodes_condition_says_since_when_it_is_lost(found: Node | None, sentence: str) -> None:
    states = NodeStates(NOW, {"node-2": found})
    assert lost_pod_problem(Pod.model_validate(worker()), states) == sentence


def test_a_pod_on_a_node_that_responds_is_not_lost() -> None:
    assert lost_pod_problem(Pod.model_validate(worker()), NodeStates(NOW, {"node-2": READY})) is None
    assert lost_pod_problem(Pod.model_validate(worker()), NodeStates(NOW)) is None


def test_without_the_right_to_read_nodes_the_pods_own_conditions_show_the_loss() -> None:
    problem = lost_pod_problem(Pod.model_validate(lost(worker())), NodeStates(NOW, is_forbidden=True))
    assert problem == (
        f"is on node node-2, which has not responded since {SINCE}; {DELETE} (you may not read nodes, so the state of "
        "the node is unknown; ask for the right to get nodes)"
    )


def test_a_worker_that_is_not_ready_by_its_own_probe_is_not_lost() -> None:
    pod = lost(worker())
    pod["status"]["containerStatuses"][0]["ready"] = False  # its kubelet says so, which therefore responds
    assert lost_pod_problem(Pod.model_validate(pod), NodeStates(NOW, is_forbidden=True)) is None


def test_a_pod_that_should_have_ended_long_ago_is_on_a_lost_node() -> None:
    ending = Pod.model_validate(worker(deletionTimestamp="2026-11-29T17:06:00Z"))
    problem = lost_pod_problem(ending, NodeStates(NOW, is_forbidden=True)) or ""
    assert problem.startswith(f"should have ended at {SINCE}, but node node-2 does not confirm it; {DELETE} (you may")
    in_time = Pod.model_validate(worker(deletionTimestamp="2026-11-29T17:08:50Z"))
    assert lost_pod_problem(in_time, NodeStates(NOW)) is None


def test_a_killed_node_of_a_real_cluster_is_seen_with_and_without_the_right_to_read_nodes() -> None:
    parts = json.loads((captured.FOLDER / "lost.json").read_text(encoding="utf-8"))
    pod, its_node = Pod.model_validate(parts["pod"]), Node.model_validate(parts["node"])
    for states in (NodeStates(NOW, {"node-2": its_node}), NodeStates(NOW, is_forbidden=True)):
        problem = lost_pod_problem(pod, states) or ""
        assert problem.startswith(
            "is on node node-2, which has not responded since 2026-11-29 17:05:57 UTC (3 min ago)"
        )
    events = [Event.model_validate(event) for event in parts["events"]]
    assert [event.reason for event in events] == ["Pulling", "Pulled"]
    status = {"name": "worker", "state": {"waiting": {"reason": "ContainerCreating"}}}
    creating = Pod.model_validate(parts["pod"] | {"status": {"phase": "Pending", "containerStatuses": [status]}})
    assert (is_pulling(creating, events[:1]), is_pulling(creating, events)) == (True, False)


# ---- a release ------------------------------------------------------------------------------------
def status(name: str, silent_s: float, gpus: int | None = None, heard: bool = True) -> WorkerStatus:
    idle = {"trial": None, "attempt": 0, "epoch": 0, "progress": 0, "images_per_s": 0}
    return WorkerStatus.model_validate({**idle, "worker": name, "silent_s": silent_s, "gpus": gpus, "heard": heard})


@contextmanager
def cluster_of(objects: dict[str, Any], forbidden: tuple[str, ...] = ()) -> Iterator[Cluster]:
    with running_api_server(objects, forbidden) as api:
        yield cluster_at(api.url, "kube-demo")


def view(cluster: Cluster, pods: Sequence[dict[str, Any]], workers: Sequence[WorkerStatus]) -> ReleaseView:
    others = [pod for pod in captured.release_parts(Pod) if pod.component != "worker"]
    release = Release(
        name="night",
        cluster=cluster,
        jobs=captured.release_parts(Job),
        deployments=captured.release_parts(Deployment),
        pods=[*others, *(Pod.model_validate(pod) for pod in pods)],
        events=captured.release_parts(Event),
    )
    return view_release(release, {}, workers, read_nodes(release, workers))


def objects(lease_s: float = 30.0) -> dict[str, Any]:
    job = next(job for job in captured.release_parts(Job) if job.component == "chief")
    study = {"study.yaml": f"name: night\nleases: {{duration_s: {lease_s}}}\n"}
    return {
        "nodes/node-2": UNKNOWN.model_dump(mode="json", by_alias=True),
        f"configmaps/{job.spec.template.spec.volume_source('study')}": {"data": study},
    }


def test_a_release_whose_worker_is_on_a_lost_node_is_broken() -> None:
    with cluster_of(objects()) as cluster:
        result = view(cluster, [lost(worker(0)), worker(2)], [status("worker-0", 80), status("worker-2", 1)])
    assert result.broken
    assert result.workers[0].state is State.LOST
    assert "run kubectl delete node node-2" in (result.workers[0].trouble or "")
    assert (result.workers[2].state, result.workers[2].trouble) == (State.RUNNING, None)


def test_a_worker_that_still_calls_the_chief_is_not_lost_with_its_node() -> None:
    with cluster_of(objects()) as cluster:
        result = view(cluster, [lost(worker(0))], [status("worker-0", 2)])
    assert (result.workers[0].state, result.workers[0].trouble) == (State.RUNNING, None)
    assert "is on node node-2, which has not responded since" in (result.workers[0].risk or "")


def test_a_lease_that_a_new_chief_has_renewed_is_no_sign_of_life_from_a_lost_node() -> None:
    with cluster_of(objects()) as cluster:
        result = view(cluster, [lost(worker(0))], [status("worker-0", 2, heard=False)])
    assert result.broken
    assert result.workers[0].state is State.LOST
    assert "is on node node-2, which has not responded since" in (result.workers[0].trouble or "")
    console = make_console()
    console.file, console.width = io.StringIO(), 200
    console.print(release_view(result))
    assert "not by this chief" in console.file.getvalue()
    table = console.file.getvalue().partition("worker 0:")[0]
    assert "s ago" not in table
    assert "idle" not in table  # it is not known what the worker does


@pytest.mark.parametrize(("silent_s", "lease_s", "is_broken"), [(80, 30, True), (60, 30, False), (80, 120, False)])
def test_a_silent_worker_is_broken_before_the_control_plane_notices(
    silent_s: float, lease_s: float, is_broken: bool
) -> None:
    ready = {"nodes/node-2": READY.model_dump(mode="json", by_alias=True)}
    with cluster_of(objects(lease_s) | ready) as cluster:
        result = view(cluster, [worker(0)], [status("worker-0", silent_s), status("worker-2", 1)])
    assert result.broken == is_broken or result.workers[1].trouble is not None
    trouble = result.workers[0].trouble or ""
    assert ("has not called the chief for 80 s, although its pod runs on node node-2" in trouble) == is_broken


def test_a_pod_is_not_silent_for_the_time_before_it_existed() -> None:
    """The chief still counts from the last call of the pod that this one replaces."""
    young = worker(0, creationTimestamp=(datetime.now(UTC) - timedelta(seconds=24)).isoformat())
    ready = {"nodes/node-2": READY.model_dump(mode="json", by_alias=True)}
    with cluster_of(objects() | ready) as cluster:
        result = view(cluster, [young], [status("worker-0", 80)])
    assert result.workers[0].trouble is None


def test_a_caller_who_may_not_read_nodes_learns_which_right_is_missing() -> None:
    with cluster_of(objects(), forbidden=("nodes",)) as cluster:
        result = view(cluster, [lost(worker(0))], [status("worker-0", 80)])
    assert "has not responded since" in (result.workers[0].trouble or "")
    assert "ask for the right to get nodes" in (result.workers[0].trouble or "")


def test_a_worker_that_the_chief_has_forgotten_is_not_fine() -> None:
    with cluster_of(objects()) as cluster:
        result = view(cluster, [worker(0), worker(2)], [status("worker-2", 1)])
    assert (result.workers[0].trouble or "").startswith("runs, but the chief does not know it")


def test_a_worker_that_asked_for_gpus_and_has_none_is_told_with_both_remedies() -> None:
    with cluster_of(objects()) as cluster:
        pods = [worker(0), worker(2)]
        result = view(cluster, pods, [status("worker-0", 1, gpus=0), status("worker-2", 1, gpus=3)])
    assert result.workers[0].trouble is None
    assert "requested 3 nvidia.com/gpu and finds none, so it trains on the CPU" in (result.workers[0].risk or "")
    assert "make image LOCK=cuda" in (result.workers[0].risk or "")
    assert "workers.gpus=0" in (result.workers[0].risk or "")
    assert result.workers[2].risk is None
