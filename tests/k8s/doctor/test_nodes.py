"""What `doctor` makes of a cluster's nodes."""

from typing import Any

import pytest

from k8s.cluster.resources import Node
from k8s.doctor.findings import Finding, Severity
from k8s.doctor.nodes import check_nodes
from k8s.doctor.requirements import of_flags

SPOT = {"key": "cloud.google.com/gke-spot", "value": "true", "effect": "NoSchedule"}


class Nodes:
    """A cluster of which only the nodes are asked, and no pod runs."""

    def __init__(self, *nodes: Node) -> None:
        self._nodes = nodes

    def list(self, kind: type[Any], labels: str = "", everywhere: bool = False) -> list[Any]:
        return list(self._nodes) if kind is Node else []


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
        "the 2 nodes with 1 nvidia.com/gpu have taints that workers do not tolerate: "
        "cloud.google.com/gke-spot=true:NoSchedule"
    )
    assert "workers.tolerations" in result.fix


def test_nodes_that_all_are_tainted_are_told_with_their_taints() -> None:
    result = finding(node("a", 8, SPOT), node("b", 8, SPOT))
    assert result.what == (
        "all 2 nodes that match workers.nodeSelector have taints that workers do not tolerate: "
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
    assert finding(node("a", 4, ready=False)).what == "none of the cluster's 1 nodes is ready and accepts pods"
