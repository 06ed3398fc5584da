"""All checks of `doctor` in order. A check that cannot be made yields a warning with the reason."""

from collections.abc import Callable, Iterator, Sequence

from k8s.cluster.client import Cluster
from k8s.doctor import cluster_checks, local_checks
from k8s.doctor.admission import check_admission
from k8s.doctor.findings import Finding, Severity, broken, warning
from k8s.doctor.nodes import check_nodes
from k8s.doctor.probe import probe
from k8s.doctor.quotas import check_quotas
from k8s.doctor.requirements import Requirements
from k8s.doctor.storage import check_storage
from k8s.release.release import Release
from tuner import names
from tuner.errors import EnvironmentFailure
from tuner.study.status import WorkerStatus


def examine_cluster(
    cluster: Cluster,
    requirements: Requirements,
    release: Release | None,
    with_probe: bool,
    workers: Sequence[WorkerStatus] = (),
) -> Iterator[Finding]:
    """Yield each finding as soon as it is made.

    Args:
        cluster: The cluster.
        requirements: What the release requires.
        release: The installed release; None before an installation.
        with_probe: Whether to run the image once in a pod.
        workers: What the chief of the installed release knows about its workers; empty if it has not answered.
    """
    try:
        yield from cluster_checks.check_api(cluster)
    except EnvironmentFailure as error:
        yield broken("API", str(error).rstrip("."))
        return
    checks: dict[str, Callable[[], Iterator[Finding]]] = {
        "rights": lambda: cluster_checks.check_rights(cluster, release is not None),
        "namespace": lambda: cluster_checks.check_namespace(cluster),
        "nodes": lambda: check_nodes(cluster, requirements, release),
        "quota": lambda: check_quotas(cluster, requirements, installed=release is not None),
        "storage": lambda: check_storage(cluster, requirements, release),
    }
    if release is None:
        # the pods of an installed release show problems of admission themselves
        checks["admission"] = lambda: check_admission(cluster, requirements)
    else:
        checks["pods"] = lambda: cluster_checks.check_pods(release, workers)
    if with_probe and requirements.image:
        checks["probe"] = lambda: probe(cluster, requirements, release)
    is_namespace_missing = False
    for name, check in checks.items():
        if is_namespace_missing:
            return  # the other checks examine objects in the namespace
        try:
            for finding in check():
                is_namespace_missing |= name == "namespace" and finding.severity is Severity.BROKEN
                yield finding
        except EnvironmentFailure as error:
            yield warning(name, f"this check failed: {str(error).rstrip('.')}")


def examine_inside(
    bucket_url: str | None,
    service: str | None,
    chief: str | None,
    gpus: int = 0,
    gpu_resource: str = names.GPU_RESOURCE,
) -> Iterator[Finding]:
    """Yield the findings about the cluster, as seen by a pod in it.

    Args:
        bucket_url: The bucket to check, if any.
        service: Name of the chief's Service, which DNS must resolve.
        chief: Host and port at which the chief must accept connections, if any.
        gpus: Number of GPUs of NVIDIA that each worker requests. Their image must have CUDA's libraries.
        gpu_resource: Resource by which the workers request them.
    """
    yield from local_checks.check_cuda(gpus, gpu_resource)
    yield from local_checks.check_name(service or "kubernetes.default.svc")
    if chief:
        host, _, port = chief.rpartition(":")
        yield from local_checks.check_chief(host, int(port))
    if bucket_url:
        yield from local_checks.check_bucket(bucket_url, "the cluster's nodes")


def examine_machine(bucket_url: str | None) -> Iterator[Finding]:
    """Yield the findings about this machine, on which `cifake-tune run` would run."""
    yield from local_checks.check_machine()
    if bucket_url:
        yield from local_checks.check_bucket(bucket_url, "this machine")
