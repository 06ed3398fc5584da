"""Pods on nodes that no longer respond. Such pods keep the phase Running, and only some of them are replaced."""

from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from k8s.cluster.client import ApiRefusedError, Cluster
from k8s.cluster.objects import Pod
from k8s.cluster.resources import Node
from k8s.release.release import WORKER, Release
from tuner.config import settings
from tuner.errors import CifakeTuneError
from tuner.study.status import WorkerStatus

SILENT_S = 75.0
"""Minimum number of seconds without a call to the chief after which a running worker has a problem. It is larger if
leases are longer than by default, because an idle worker calls three times per lease."""
SILENT_LEASES = 2
"""Minimum number of leases after which a silent worker has a problem."""
OVERDUE_S = 30.0
"""Seconds by which a pod may exceed its grace period before its node counts as lost."""
_NO_RIGHT = "you may not read nodes, so the state of the node is unknown; ask for the right to get nodes"


@dataclass(frozen=True)
class NodeStates:
    """The nodes of those pods that may have lost their node, at one point in time."""

    now: datetime
    nodes: Mapping[str, Node | None] = field(default_factory=dict)
    """Nodes by name; None if the Node object has been deleted. All nodes if taints keep a pod from being scheduled."""
    is_forbidden: bool = False
    """Whether the caller lacks the right to read nodes."""
    silent_s: float = SILENT_S
    """Seconds without a call to the chief after which a worker is silent."""


def read_nodes(release: Release, workers: Collection[WorkerStatus] = ()) -> NodeStates:
    """Read the nodes of pods that are not ready, that are being deleted, or whose worker is silent.

    All nodes are read if a pod is not scheduled because of taints, which the scheduler's message may not name.
    Raises EnvironmentFailure if the API server cannot be reached.
    """
    now = datetime.now(UTC)
    silent_s = SILENT_S
    if any(status.silent_s >= SILENT_S for status in workers):
        silent_s = max(SILENT_S, SILENT_LEASES * _lease_s(release))
    silent = {status.worker for status in workers if status.silent_s >= silent_s}
    wanted = {
        pod.spec.node_name
        for pod in release.pods
        if pod.spec.node_name
        and pod.status.phase not in ("Succeeded", "Failed")
        and (not pod.is_ready or pod.metadata.deletion_timestamp or _worker_name(pod) in silent)
    }
    with ThreadPoolExecutor(8) as pool:
        answers = {name: pool.submit(_read, release.cluster, name) for name in wanted}
    nodes = {name: answer.result() for name, answer in answers.items()}
    if any(_awaits_taints(pod) for pod in release.pods):
        nodes = {**_all_nodes(release.cluster), **nodes}
    readable = {name: node for name, node in nodes.items() if not isinstance(node, ApiRefusedError)}
    return NodeStates(now, readable, len(readable) < len(nodes), silent_s)


def _awaits_taints(pod: Pod) -> bool:
    scheduled = pod.condition("PodScheduled")
    return (
        pod.status.phase == "Pending"
        and scheduled is not None
        and scheduled.status == "False"
        and "taint" in scheduled.message
    )


def _all_nodes(cluster: Cluster) -> dict[str, Node]:
    """Return the cluster's nodes; none if they may not be listed."""
    try:
        return {node.name: node for node in cluster.list(Node)}
    except ApiRefusedError:
        return {}


def _lease_s(release: Release) -> float:
    try:
        return release.lease_s()
    except CifakeTuneError:
        return settings.Leases().duration_s


def _read(cluster: Cluster, name: str) -> Node | ApiRefusedError | None:
    try:
        return cluster.get(Node, name)
    except ApiRefusedError as error:
        return None if error.status == 404 else error


def lost_node(node: Node, now: datetime) -> str:
    """Return since when a node does not respond or is not ready, as a verb phrase."""
    if node.ready is None or node.is_ready:
        return "has a taint of nodes that do not respond"
    state = "has not responded" if node.ready.status == "Unknown" else "has not been ready"
    reason = f", {node.ready.reason}" if node.ready.status == "False" and node.ready.reason else ""
    return f"{state} since {_since(node.ready.last_transition_time, now)}{reason}"


def lost_pod_problem(pod: Pod, states: NodeStates) -> str | None:
    """Return the problem of a pod whose node does not respond; None if nothing shows that the node is lost."""
    name = pod.spec.node_name
    if not name or pod.status.phase in ("Succeeded", "Failed"):
        return None
    fix = f"if its machine is gone, run kubectl delete node {name}, so that the pod is replaced"
    no_right = f" ({_NO_RIGHT})" if states.is_forbidden and name not in states.nodes else ""
    if name in states.nodes:
        node = states.nodes[name]
        if node is None:
            return f"is on node {name}, which has been deleted; Kubernetes removes the pod within minutes"
        if node.ready and not node.is_ready:
            return f"is on node {name}, which {lost_node(node, states.now)}; {fix}"
    deadline = pod.metadata.deletion_timestamp
    if deadline and states.now - deadline > timedelta(seconds=OVERDUE_S):
        return (
            f"should have ended at {_since(deadline, states.now)}, but node {name} does not confirm it; {fix}{no_right}"
        )
    if marked := _marked_not_ready(pod):
        return f"is on node {name}, which has not responded since {_since(marked, states.now)}; {fix}{no_right}"
    return None


def silent_worker_problem(pod: Pod, status: WorkerStatus, states: NodeStates) -> str | None:
    """Return the problem of a worker that no longer calls the chief although its pod runs; None if it calls."""
    if status.silent_s < states.silent_s or pod.status.phase != "Running":
        return None
    created = pod.metadata.creation_timestamp
    if created and states.now - created < timedelta(seconds=status.silent_s):
        return None  # the previous pod made the last call
    name = pod.spec.node_name
    no_right = f" ({_NO_RIGHT})" if states.is_forbidden and name not in states.nodes else ""
    return (
        f"has not called the chief for {_duration(status.silent_s)}, although its pod runs on node {name}; the process "
        "is blocked, the network is interrupted, or the node is lost; see its log with cifake-tune logs --worker "
        f"{pod.index}, and run kubectl get node {name}{no_right}"
    )


def _marked_not_ready(pod: Pod) -> datetime | None:
    """Return when the control plane marked a pod as not ready because its node stopped responding.

    The node's own kubelet would also have changed the state of the containers.
    """
    ready = pod.condition("Ready")
    statuses = pod.status.container_statuses
    is_marked = (
        ready is not None
        and ready.status == "False"
        and not ready.reason
        and pod.status.phase == "Running"
        and bool(statuses)
        and all(status.ready for status in statuses)
    )
    return ready.last_transition_time if ready and is_marked else None


def _worker_name(pod: Pod) -> str:
    return f"{WORKER}-{pod.index}" if pod.component == WORKER else ""


def _since(time: datetime | None, now: datetime) -> str:
    if time is None:
        return "an unknown time"
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC ({_duration((now - time).total_seconds())} ago)"


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{max(0.0, seconds):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"
