"""What `doctor` makes of a cluster's nodes."""

from collections.abc import Sequence
from typing import Any

import pytest

from k8s.cluster.objects import Job, Pod
from k8s.cluster.resources import Node
from k8s.doctor.findings import Finding, Severity
from k8s.doctor.nodes import check_nodes
from k8s.doctor.requirements import of_flags, of_release
from k8s.release.release import Release
from tests.k8s import captured

SPOT = {"key": "cloud.google.com/gke-spot", "value": "true", "effect": "NoSchedule"}


class Nodes:
    """A cluster of which only the nodes and the pods are asked."""

    namespace = "kube-demo"

    def __init__(self, *nodes: Node, pods: Sequence[Pod] = ()) -> None:
        self._nodes = nodes
        self._pods = pods

    def list(self, kind: type[Any], labels: str = "", everywhere: bool = False) -> list[Any]:
        return list(self._nodes) if kind is Node else list(self._pods)


def node(name: str, gpus: int, *taints: dict[str, str], ready: bool = True) -> Node:
    return Node.model_validate(
        {
            "metadata": {"name": name},
            "spec": {"taints": list(taints)},
            "status": {
                "allocatable": {"nvidia.com/gpu": str(gpus)},
                "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
            },
        }
    )


def finding(*nodes: Node, workers: int = 2, gpus: int = 1) -> Finding:
    (finding,) = check_nodes(Nodes(*nodes), of_flags("image", workers, gpus, "gs://b"), None)  # type: ignore[arg-type]
    return finding


def test_gpu_nodes_that_are_tainted_are_told_though_other_nodes_would_take_the_workers() -> None:
    result = finding(node("cpu", 0), node("gpu-1", 8, SPOT), node("gpu-2", 8, SPOT))
    assert result.severity is Severity.BROKEN
    assert result.what == (
        "every node with 1 nvidia.com/gpu (2 nodes) has taints that workers do not tolerate: "
        "cloud.google.com/gke-spot=true:NoSchedule"
    )
    assert "workers.tolerations" in result.fix


def test_nodes_that_all_are_tainted_are_told_with_their_taints() -> None:
    result = finding(node("a", 8, SPOT), node("b", 8, SPOT))
    assert result.what == (
        "every node that matches workers.nodeSelector (2 nodes) has taints that workers do not tolerate: "
        "cloud.google.com/gke-spot=true:NoSchedule"
    )


@pytest.mark.parametrize(
    ("gpus", "workers", "severity", "what"),
    [
        (1, 8, Severity.FINE, "enough for 8 workers with 1 each"),
        (4, 3, Severity.WARNING, "enough for 2 workers with 4 each, but the release has 3 workers"),
        (5, 1, Severity.BROKEN, "no node that accepts workers has more than 4"),
    ],
)
def test_the_gpus_that_are_free_are_counted_a_node(gpus: int, workers: int, severity: Severity, what: str) -> None:
    result = finding(node("a", 4), node("b", 4), node("gone", 8, ready=False), workers=workers, gpus=gpus)
    assert result.severity is severity
    assert what in result.what


def test_a_cluster_without_ready_nodes_is_broken() -> None:
    assert finding(node("a", 4, ready=False)).what == "none of the cluster's nodes is ready and accepts pods (1 node)"


def test_gpus_that_the_release_holds_itself_are_not_called_free() -> None:
    pods = captured.release_parts(Pod)
    nodes = Nodes(node("node-1", 3), node("node-2", 3), pods=pods)
    cluster: Any = nodes
    release = Release("night", cluster, captured.release_parts(Job), [], pods, [])
    (finding,) = check_nodes(cluster, of_release(release), release)
    assert finding.what.startswith(
        "6 nvidia.com/gpu are free or held by this release on 2 nodes, which is enough for 2"
    )


@pytest.mark.parametrize(
    ("gpus", "what"),
    [
        (0, "1 node accepts workers, which request no GPU"),
        (1, "1 nvidia.com/gpu is free on 1 node, which is enough for 1 worker with 1 each; the release has 1"),
    ],
)
def test_one_is_singular(gpus: int, what: str) -> None:
    assert finding(node("a", 1), workers=1, gpus=gpus).what == what
