"""Why the scheduler finds no node for a pod: its own message, with the names of nodes and taints, and the fix."""

import re
from collections.abc import Sequence

from k8s.cluster.gpus import requested_gpus
from k8s.cluster.objects import Event, Pod, Toleration
from k8s.cluster.resources import Node, Taint
from k8s.release.lost_nodes import NodeStates, lost_node

MAX_NAMES = 3
"""Maximum number of nodes that a sentence names."""
_LOST = ("node.kubernetes.io/unreachable", "node.kubernetes.io/not-ready")
"""Taints of the nodes that do not respond."""


def unscheduled_problem(pod: Pod, message: str, events: Sequence[Event] = (), states: NodeStates | None = None) -> str:
    """Explain a message of the scheduler, such as `0/2 nodes are available: 2 Insufficient nvidia.com/gpu. …`.

    Args:
        pod: The pod that no node accepts.
        message: The scheduler's message.
        events: Events of the namespace.
        states: The cluster's nodes, whose taints are then named; None if none was read.
    """
    if "unbound" in message and (claim := _claim_without_class(pod, events)):
        return claim_problem(claim)
    match = re.match(
        r"0/(\d+) nodes are available: (.*?)(?:\. (?:no new claims|preemption:)|\.? not found$|\.?$)", message
    )
    if not match:
        return message or "no node accepts the pod"
    total, text = int(match[1]), match[2]
    reasons = [part.strip() for part in re.split(r", (?=\d+ )", text)]
    tainted = _taint_problems(pod, states) if states else []
    sentences = []
    for reason in reasons:
        sentences += tainted if tainted and "untolerated taint" in reason else [_no_node(pod, reason, total)]
    return "; ".join(dict.fromkeys(sentences))


def _no_node(pod: Pod, reason: str, total: int) -> str:
    """Explain one of the scheduler's reasons, such as `2 Insufficient nvidia.com/gpu`."""
    match = re.match(r"(\d+) (.*)", reason)
    count, cause = (int(match[1]), match[2]) if match else (total, reason)
    one = count == 1
    selector = ", ".join(f"{key}={value}" for key, value in pod.spec.node_selector.items())
    gpus = requested_gpus(pod.spec)
    words = {
        "nodes": f"{count} of {total} nodes",
        "have": "has" if one else "have",
        "do": "does" if one else "do",
        "place": f"nodeSelector {selector}" if selector else "node affinity",
        "claims": ", ".join(pod.spec.claims()),
    }
    if cause.startswith(f"Insufficient {gpus.resource}"):
        return (
            f"{words['nodes']} {words['have']} fewer than {gpus.count} free {gpus.resource}; request fewer "
            "(workers.gpus), or add GPU nodes"
        )
    for pattern, sentence in _NO_NODE:
        if match := re.search(pattern, cause):
            return sentence.format(*match.groups(), **words)
    return f"{words['nodes']}: {cause}"


_NO_NODE = [
    (
        r"Insufficient (\S+)",
        "{nodes} {have} less free {0} than the pod requests; lower resources.requests, or add nodes",
    ),
    (
        r"taint \{node\.kubernetes\.io/(?:unreachable|not-ready)",
        "{nodes} {do} not respond; run kubectl get nodes to see which, and restart its machine or add a node",
    ),
    (
        r"taint \{(.+?)\}",
        "{nodes} {have} the taint {0}, which the pod does not tolerate; add the taint to tolerations, or remove it "
        "from the nodes",
    ),
    (
        r"taint",
        "{nodes} {have} a taint that the pod does not tolerate; add the taint to tolerations, or remove it from the "
        "nodes",
    ),
    (
        r"cannot allocate all claims",
        "{nodes} {have} no free device for the pod's resource claims; request fewer (workers.resourceClaims), or add "
        "nodes with such devices",
    ),
    (r"affinity|selector", "{nodes} {do} not match the pod's {place}; correct this value, or label the nodes"),
    (r"unschedulable", "{nodes} {have} been cordoned; run kubectl uncordon NODE"),
    (
        r'persistentvolumeclaim "(.+?)" not found',
        "the PersistentVolumeClaim {0} does not exist; run helm upgrade to create it again",
    ),
    (
        r"unbound",
        "the pod's volume {claims} is not bound; run kubectl describe pvc to see whether its StorageClass exists, or "
        'without a default class set bucket.emulator.storageClass to a class, or to "-" for no volume',
    ),
    (r"(volume.*)", "{nodes} cannot reach the pod's volume ({0}); run kubectl describe pvc to see its location"),
]
"""Patterns of the scheduler's reasons, with their explanations. The first pattern that matches applies."""


def untolerated(node: Node, tolerations: Sequence[Toleration]) -> list[Taint]:
    """Return the taints that prevent the scheduler from placing a pod with these tolerations on the node."""

    def tolerates(taint: Taint) -> bool:
        return any(
            (not toleration.key or toleration.key == taint.key)
            and (not toleration.effect or toleration.effect == taint.effect)
            and (toleration.operator == "Exists" or toleration.value == taint.value)
            for toleration in tolerations
        )

    return [t for t in node.spec.taints if t.effect in ("NoSchedule", "NoExecute") and not tolerates(t)]


def _taint_problems(pod: Pod, states: NodeStates) -> list[str]:
    """Return a sentence for each lost node, and for each taint of the other nodes that the pod does not tolerate.

    The scheduler's message does not name nodes, and from Kubernetes 1.34 on no taints.
    """
    sentences: list[str] = []
    nodes_by_taint: dict[str, list[str]] = {}
    for name, node in sorted(states.nodes.items()):
        taints = untolerated(node, pod.spec.tolerations) if node else []
        if node and any(taint.key in _LOST for taint in taints):
            sentences.append(
                f"node {name} is lost: it {lost_node(node, states.now)}; restart its machine, or add a node"
            )
            continue
        # the scheduler reports a cordoned node by another reason
        for taint in taints:
            if taint.key != "node.kubernetes.io/unschedulable":
                nodes_by_taint.setdefault(str(taint), []).append(name)
    for text, nodes in nodes_by_taint.items():
        shown = ", ".join(nodes[:MAX_NAMES]) + f" and {len(nodes) - MAX_NAMES} others" * (len(nodes) > MAX_NAMES)
        sentences.append(
            f"{f'node {shown} has' if len(nodes) == 1 else f'nodes {shown} have'} the taint {text}, which the pod does "
            "not tolerate; add the taint to tolerations, or remove it from the node"
        )
    return sentences


# ---- claims ---------------------------------------------------------------------------------------
def claim_problem(claim: str) -> str:
    """Return the problem of a claim that names no StorageClass in a cluster without a default class."""
    return (
        f"the PersistentVolumeClaim {claim} stays Pending, because the cluster has no default StorageClass; set "
        'bucket.emulator.storageClass to a class of kubectl get storageclass, or to "-" for a bucket that is lost with '
        "its pod, or use bucket.url=gs://BUCKET"
    )


def _claim_without_class(pod: Pod, events: Sequence[Event]) -> str | None:
    """Return the pod's claim for which the control plane has found no StorageClass."""
    claims = set(pod.spec.claims())
    for event in events:
        if event.involved_object.name in claims and "no storage class is set" in event.message:
            return event.involved_object.name
    return None
