"""Do nodes take a release's workers, with as many GPUs as they ask for?"""

from collections.abc import Iterator, Sequence

from kubernetes.utils import parse_quantity

from k8s.cluster.client import ApiRefusedError, Cluster
from k8s.cluster.objects import Pod, PodSpec, Toleration
from k8s.cluster.resources import Node, Taint
from k8s.doctor.findings import Finding, broken, fine, warning
from k8s.doctor.requirements import Needs, Pods
from k8s.release.release import WORKER, Release
from tuner import names


def check_nodes(cluster: Cluster, needs: Needs, release: Release | None) -> Iterator[Finding]:
    """Do nodes take the workers, with as many GPUs as they ask for?"""
    workers = needs.of(WORKER)
    if workers is None:
        return
    try:
        nodes = cluster.list(Node)
    except ApiRefusedError:
        yield warning("nodes", "you may not list nodes, so nothing can be said about GPUs and taints")
        return
    ready = [node for node in nodes if node.is_ready and not node.spec.unschedulable]
    if not ready:
        yield broken("nodes", f"none of {len(nodes)} nodes is ready and takes pods", "kubectl get nodes says why.")
        return
    selected = [node for node in ready if _suits(node, workers.spec)]
    if not selected:
        wanted = ", ".join(f"{key}={value}" for key, value in workers.spec.node_selector.items())
        yield broken(
            "nodes",
            f"no node has the labels that workers.nodeSelector asks for ({wanted})",
            "Correct it, or add such nodes; where an autoscaler adds them, this is no trouble.",
        )
        return
    tolerated = [node for node in selected if not untolerated(node, workers.spec.tolerations)]
    if not tolerated:
        taints = sorted({str(taint) for node in selected for taint in untolerated(node, workers.spec.tolerations)})
        yield broken(
            "nodes",
            f"all {len(selected)} nodes that suit the workers have taints: {', '.join(taints)}",
            "Add them to workers.tolerations, or remove them.",
        )
        return
    yield from _check_gpus(cluster, workers, tolerated, selected, release)


def _check_gpus(
    cluster: Cluster, workers: Pods, nodes: Sequence[Node], all_nodes: Sequence[Node], release: Release | None
) -> Iterator[Finding]:
    asked = int(parse_quantity(workers.spec.requested(names.GPU_RESOURCE)))
    if not asked:
        yield fine("nodes", f"{len(nodes)} nodes take workers, which ask for no GPU")
        return
    have = {node.name: _gpus(node) for node in nodes}
    largest = max(have.values())
    if largest < asked:
        if shut := [node for node in all_nodes if _gpus(node) >= asked]:
            taints = sorted({str(taint) for node in shut for taint in untolerated(node, workers.spec.tolerations)})
            what = f"the {len(shut)} nodes with {asked} {names.GPU_RESOURCE} have taints: {', '.join(taints)}"
            yield broken("GPUs", what, "Add them to workers.tolerations, or remove them.")
            return
        what = f"workers ask for {asked} {names.GPU_RESOURCE} each, and no node that takes them has more than {largest}"
        fix = f"Set workers.gpus={largest}" if largest else "Install NVIDIA's device plugin, or set workers.gpus=0"
        yield broken("GPUs", what, f"{fix}, or add such nodes; where an autoscaler adds them, this is no trouble.")
        return
    try:
        pods = cluster.list(Pod, everywhere=True)
    except ApiRefusedError:
        pods = []
    for pod in pods:
        ours = (
            release is not None
            and pod.component == WORKER
            and pod.metadata.labels.get(names.LABEL_RELEASE) == release.name
        )
        if (
            pod.spec.node_name in have
            and pod.status.phase in ("Running", "Pending")
            and not (ours and pod.metadata.namespace == cluster.namespace)
        ):
            have[pod.spec.node_name] -= int(parse_quantity(pod.spec.requested(names.GPU_RESOURCE)))
    places = sum(max(0, free) // asked for free in have.values())
    free = sum(max(0, each) for each in have.values())
    what = f"{free} {names.GPU_RESOURCE} are free on {len(have)} nodes: room for {places} workers of {asked} each"
    if places < workers.count:
        yield warning(
            "GPUs", f"{what}, and there are to be {workers.count}", "The others wait; set workers.replicas lower."
        )
    else:
        yield fine("GPUs", what)


def _gpus(node: Node) -> int:
    return int(parse_quantity(node.status.allocatable.get(names.GPU_RESOURCE, "0")))


def _suits(node: Node, spec: PodSpec) -> bool:
    return all(node.metadata.labels.get(key) == value for key, value in spec.node_selector.items())


def untolerated(node: Node, tolerations: Sequence[Toleration]) -> list[Taint]:
    """Return the taints that keep a pod with these tolerations from a node, as the scheduler reckons."""

    def tolerates(taint: Taint) -> bool:
        return any(
            (not each.key or each.key == taint.key)
            and (not each.effect or each.effect == taint.effect)
            and (each.operator == "Exists" or each.value == taint.value)
            for each in tolerations
        )

    return [t for t in node.spec.taints if t.effect in ("NoSchedule", "NoExecute") and not tolerates(t)]
