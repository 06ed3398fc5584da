"""`doctor`: all that is looked at, in the order in which one would; a check that cannot be made says why."""

from collections.abc import Callable, Iterator

from k8s.cluster.client import Cluster
from k8s.doctor import cluster_checks, local_checks
from k8s.doctor.admission import check_admission
from k8s.doctor.findings import Finding, Severity, broken, warning
from k8s.doctor.nodes import check_nodes
from k8s.doctor.probe import probe
from k8s.doctor.quotas import check_quotas
from k8s.doctor.requirements import Needs
from k8s.doctor.storage import check_storage
from k8s.release.release import Release
from tuner.errors import EnvironmentFailure


def examine_cluster(cluster: Cluster, needs: Needs, release: Release | None, with_probe: bool) -> Iterator[Finding]:
    """Yield what stops a release, installed or not yet, as it is found."""
    try:
        yield from cluster_checks.check_api(cluster)
    except EnvironmentFailure as error:
        yield broken("API", str(error).rstrip("."))
        return
    looks: dict[str, Callable[[], Iterator[Finding]]] = {
        "rights": lambda: cluster_checks.check_rights(cluster, release is not None),
        "namespace": lambda: cluster_checks.check_namespace(cluster),
        "nodes": lambda: check_nodes(cluster, needs, release),
        "quota": lambda: check_quotas(cluster, needs, installed=release is not None),
        "storage": lambda: check_storage(cluster, needs, release),
    }
    if release is None:
        looks["admission"] = lambda: check_admission(cluster, needs)  # a release's pods show it themselves
    else:
        looks["pods"] = lambda: cluster_checks.check_pods(release)
    if with_probe and needs.image:
        looks["probe"] = lambda: probe(cluster, needs, release)
    no_namespace = False
    for name, look in looks.items():
        if no_namespace:
            return  # the rest is about what is in it
        try:
            for finding in look():
                no_namespace |= name == "namespace" and finding.severity is Severity.BROKEN
                yield finding
        except EnvironmentFailure as error:
            yield warning(name, f"this cannot be looked at: {str(error).rstrip('.')}")


def examine_inside(bucket_url: str | None, service: str | None, chief: str | None) -> Iterator[Finding]:
    """Yield what a pod finds; `service` is the name of the chief's, and `chief` host:port where it must answer."""
    yield from local_checks.check_name(service or "kubernetes.default.svc")
    if chief:
        host, _, port = chief.rpartition(":")
        yield from local_checks.check_chief(host, int(port))
    if bucket_url:
        yield from local_checks.check_bucket(bucket_url, "the cluster's nodes")


def examine_machine(bucket_url: str | None) -> Iterator[Finding]:
    """Yield what there is to say of this machine, for `run`."""
    yield from local_checks.check_machine()
    if bucket_url:
        yield from local_checks.check_bucket(bucket_url, "this machine")
