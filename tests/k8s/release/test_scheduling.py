"""A pod that taints keep from its nodes names both, and a lost node as such."""

import json
from datetime import UTC, datetime

from k8s.cluster.client import Cluster
from k8s.cluster.objects import Pod
from k8s.cluster.resources import Node
from k8s.release.diagnosis import pod_problem
from k8s.release.lost_nodes import NodeStates, read_nodes
from k8s.release.release import Release
from tests.k8s import captured
from tests.k8s.release.test_diagnosis import unschedulable
from tests.support.api_server import cluster_at, running_api_server

NOW = datetime(2026, 11, 29, 17, 9, 0, tzinfo=UTC)
LOST = (
    "node node-2 is lost: it has not responded since 2026-11-29 17:05:57 UTC (3 min ago); restart its machine, or add a"
)


def lost_node() -> Node:
    parts = json.loads((captured.FOLDER / "lost.json").read_text(encoding="utf-8"))
    return Node.model_validate(parts["node"])


def pending(pod: Pod, *nodes: Node) -> str:
    return pod_problem(pod, (), "", NodeStates(NOW, {node.name: node for node in nodes})) or ""


def test_a_taint_is_named_with_its_node_though_the_scheduler_names_neither() -> None:
    pod = captured.pods()["no-gpu"]
    assert "had untolerated taint(s)" in (pod.condition("PodScheduled") or pod).model_dump_json()
    assert pending(pod, *captured.read("nodes.json", Node).values()).startswith(
        "is pending: node node-tainted has the taint team=other:NoSchedule, which the pod does not tolerate; add the "
        "taint to tolerations, or remove it from the node; 2 of 3 nodes have fewer than 9 free nvidia.com/gpu"
    )


def test_a_lost_node_is_no_taint_to_tolerate() -> None:
    pod = captured.pods()["no-gpu"]
    problem = pending(pod, lost_node())
    assert problem.startswith(f"is pending: {LOST} node; 2 of 3 nodes have fewer")
    assert "toler" not in problem
    named = unschedulable(
        "0/2 nodes are available: 1 Insufficient cpu, "
        "1 node(s) had untolerated taint {node.kubernetes.io/unreachable: }."
    )
    assert "; 1 of 2 nodes does not respond; run kubectl get nodes" in (pod_problem(named) or "")  # no right to list


def test_many_tainted_nodes_are_one_sentence() -> None:
    tainted = captured.read("nodes.json", Node)["node-tainted"]
    nodes = [
        tainted.model_copy(update={"metadata": tainted.metadata.model_copy(update={"name": f"n{number}"})})
        for number in range(5)
    ]
    assert "nodes n0, n1, n2 and 2 others have the taint team=other" in pending(captured.pods()["no-gpu"], *nodes)


def test_all_nodes_are_read_only_for_a_pod_that_taints_keep_waiting() -> None:
    nodes = [lost_node().model_dump(mode="json", by_alias=True)]
    for pod, names in ((captured.pods()["no-gpu"], ["node-2"]), (captured.pods()["no-memory"], ["node-2"])):
        scheduled = pod.condition("PodScheduled")
        assert scheduled
        with running_api_server({"nodes": nodes}) as api:
            states = read_nodes(release_of(cluster_at(api.url, "kube-demo"), pod))
        assert list(states.nodes) == (names if "taint" in scheduled.message else [])
    with running_api_server({"nodes": nodes}, ("nodes",)) as api:
        states = read_nodes(release_of(cluster_at(api.url, "kube-demo"), captured.pods()["no-gpu"]))
    assert states.nodes == {}


def release_of(cluster: Cluster, *pods: Pod) -> Release:
    return Release(name="night", cluster=cluster, jobs=[], deployments=[], pods=pods, events=[])
