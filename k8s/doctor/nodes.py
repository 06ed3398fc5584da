"""Check that nodes accept a release's workers and have the GPUs that they request."""

from collections.abc import Iterator, Sequence

from kubernetes.utils import parse_quantity

from k8s.cluster.client import ApiRefusedError, Cluster
from k8s.cluster.gpus import CLAIMS, requested_gpus
from k8s.cluster.objects import Pod, PodSpec
from k8s.cluster.resources import Node
from k8s.cluster.text import counted
from k8s.doctor.findings import Finding, broken, fine, warning
from k8s.doctor.requirements import ComponentPods, Requirements
from k8s.release.release import WORKER, Release
from k8s.release.scheduling import untolerated
from tuner import names

_TAINT_FIX = "Add these taints to workers.tolerations, or remove them from the nodes."


def check_nodes(cluster: Cluster, requirements: Requirements, release: Release | None) -> Iterator[Finding]:
    """Check that nodes accept the workers and have the GPUs that they request."""
    workers = requirements.pods_of(WORKER)
    if workers is None:
        return
    try:
        nodes = cluster.list(Node)
    except ApiRefusedError:
        yield warning("nodes", "you may not list nodes, so GPUs and taints were not checked")
        return
    ready = [node for node in nodes if node.is_ready and not node.spec.unschedulable]
    if not ready:
        yield broken(
            "nodes",
            f"none of the cluster's nodes is ready and accepts pods ({counted(len(nodes), 'node')})",
            "Run kubectl get nodes to see the reason.",
        )
        return
    selected = [node for node in ready if _matches_selector(node, workers.spec)]
    if not selected:
        labels = ", ".join(f"{key}={value}" for key, value in workers.spec.node_selector.items())
        yield broken(
            "nodes",
            f"no ready node has the labels that workers.nodeSelector requires ({labels})",
            "Correct workers.nodeSelector, or add nodes with these labels. Ignore this finding if an autoscaler adds "
            "them.",
        )
        return
    tolerated = [node for node in selected if not untolerated(node, workers.spec.tolerations)]
    if not tolerated:
        taints = sorted({str(taint) for node in selected for taint in untolerated(node, workers.spec.tolerations)})
        yield broken(
            "nodes",
            f"every node that matches workers.nodeSelector ({counted(len(selected), 'node')}) has taints that workers "
            f"do not tolerate: {', '.join(taints)}",
            _TAINT_FIX,
        )
        return
    yield from _check_gpus(cluster, workers, tolerated, selected, release)


def _check_gpus(
    cluster: Cluster, workers: ComponentPods, nodes: Sequence[Node], all_nodes: Sequence[Node], release: Release | None
) -> Iterator[Finding]:
    request = requested_gpus(workers.spec)
    requested, resource = request.count, request.resource
    if not requested or resource == CLAIMS:
        accept = "accepts" if len(nodes) == 1 else "accept"
        what = f"claim their devices ({request} each), which are not counted" if requested else "request no GPU"
        yield fine("nodes", f"{counted(len(nodes), 'node')} {accept} workers, which {what}")
        return
    free_gpus = {node.name: _gpus(node, resource) for node in nodes}
    largest = max(free_gpus.values())
    if largest < requested:
        if tainted := [node for node in all_nodes if _gpus(node, resource) >= requested]:
            taints = sorted({str(taint) for node in tainted for taint in untolerated(node, workers.spec.tolerations)})
            what = (
                f"every node with {request} ({counted(len(tainted), 'node')}) has taints that "
                f"workers do not tolerate: {', '.join(taints)}"
            )
            yield broken("GPUs", what, _TAINT_FIX)
            return
        what = (
            f"workers request {request} each, but no node that accepts workers has more than {largest}"
            f"{'' if largest else _offered(nodes)}"
        )
        fix = f"Set workers.gpus={largest}" if largest else _remedy(resource, nodes)
        yield broken("GPUs", what, f"{fix}, or add larger nodes. Ignore this finding if an autoscaler adds them.")
        return
    try:
        pods = cluster.list(Pod, everywhere=True)
    except ApiRefusedError:
        pods = []
    for pod in pods:
        is_own_worker = (
            release is not None
            and pod.component == WORKER
            and pod.metadata.labels.get(names.LABEL_RELEASE) == release.name
            and pod.metadata.namespace == cluster.namespace
        )
        if pod.spec.node_name in free_gpus and pod.status.phase in ("Running", "Pending") and not is_own_worker:
            free_gpus[pod.spec.node_name] -= int(parse_quantity(pod.spec.requested(resource)))
    capacity = sum(max(0, free) // requested for free in free_gpus.values())
    total = sum(max(0, free) for free in free_gpus.values())
    are, held = "is" if total == 1 else "are", " or held by this release" if release else ""
    what = (
        f"{total} {resource} {are} free{held} on "
        f"{counted(len(free_gpus), 'node')}, which is enough for {counted(capacity, 'worker')} with {requested} each"
    )
    if capacity < workers.count:
        yield warning(
            "GPUs",
            f"{what}, but the release has {counted(workers.count, 'worker')}",
            "Lower workers.replicas, or let the remaining workers wait for free GPUs.",
        )
    else:
        yield fine("GPUs", f"{what}; the release has {workers.count}")


def _gpus(node: Node, resource: str) -> int:
    return int(parse_quantity(node.status.allocatable.get(resource, "0")))


def _devices(nodes: Sequence[Node]) -> list[str]:
    """Return the resources of these nodes that look like GPUs, or parts of them."""
    offered = {name for node in nodes for name in node.status.allocatable if _gpus_by_name(name) and _gpus(node, name)}
    return sorted(offered)


def _gpus_by_name(resource: str) -> bool:
    vendor, slash, kind = resource.partition("/")
    return bool(slash) and (kind.startswith(("gpu", "mig-")) or vendor.startswith("gpu."))


def _offered(nodes: Sequence[Node]) -> str:
    return f"; these nodes offer {', '.join(devices)}" if (devices := _devices(nodes)) else ""


def _remedy(resource: str, nodes: Sequence[Node]) -> str:
    if devices := _devices(nodes):
        return f"Set workers.gpuResource={devices[0]} or workers.gpus=0"
    plugin = "NVIDIA's device plugin" if resource == names.GPU_RESOURCE else f"the device plugin that offers {resource}"
    return f"Install {plugin}, or set workers.gpus=0"


def _matches_selector(node: Node, spec: PodSpec) -> bool:
    return all(node.metadata.labels.get(key) == value for key, value in spec.node_selector.items())
