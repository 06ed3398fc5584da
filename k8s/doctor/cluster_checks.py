"""Checks of the Kubernetes API, of the user's rights, of the namespace and of a release's pods."""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from k8s.cluster.client import ApiRefusedError, Cluster, Right
from k8s.cluster.resources import Namespace
from k8s.doctor.findings import Finding, broken, clock_finding, fine, warning
from k8s.release.lost_nodes import read_nodes
from k8s.release.release import BUCKET, Release
from k8s.release.status import ComponentView, joined_titles, last_lines, namespace_problem, view_release
from tuner.study.status import WorkerStatus

INSTALL_RIGHTS = [
    Right("create", resource)
    for resource in (
        "jobs.batch",
        "deployments.apps",
        "services",
        "configmaps",
        "secrets",
        "serviceaccounts",
        "persistentvolumeclaims",
        "roles.rbac.authorization.k8s.io",
        "rolebindings.rbac.authorization.k8s.io",
        "networkpolicies.networking.k8s.io",
    )
]
READ_RIGHTS = [
    Right("list", "pods"),
    Right("list", "jobs.batch"),
    Right("list", "deployments.apps"),
    Right("list", "events"),
    Right("get", "configmaps"),
    Right("get", "secrets"),
    Right("get", "pods/log"),
    Right("create", "pods/portforward"),
]
_ENFORCED = "pod-security.kubernetes.io/enforce"


def check_api(cluster: Cluster) -> Iterator[Finding]:
    """Check that the API responds, and compare its clock. Raises EnvironmentFailure if the API does not respond."""
    began = time.monotonic()
    server_time = cluster.clock()
    duration_ms = (time.monotonic() - began) * 1000
    yield fine("API", f"the Kubernetes API at {cluster.host} responds in {duration_ms:.0f} ms")
    if server_time is not None:
        yield clock_finding("clock", time.time(), server_time, "this machine", "the API server")


def check_rights(cluster: Cluster, installed: bool) -> Iterator[Finding]:
    """Check the rights to install a release and to read it."""
    with ThreadPoolExecutor(8) as pool:
        rights = [*INSTALL_RIGHTS, *READ_RIGHTS]
        allowed = dict(zip(rights, pool.map(cluster.may, rights), strict=True))
    location = f"in namespace {cluster.namespace}"
    missing_to_install = [right for right in INSTALL_RIGHTS if not allowed[right]]
    missing_to_read = [right for right in READ_RIGHTS if not allowed[right]]
    grant = f"kubectl create rolebinding NAME -n {cluster.namespace} --user=YOU --clusterrole="
    if missing_to_install:
        command = "helm upgrade" if installed else "helm install"
        what = f"you may not {_rights(missing_to_install)} {location}, so {command} fails"
        yield (warning if installed else broken)("rights", what, f"Ask an administrator to run {grant}admin.")
    if missing_to_read:
        what = f"you may not {_rights(missing_to_read)} {location}, so status and logs are incomplete"
        yield warning("rights", what, f"Ask an administrator to run {grant}edit.")
    if not missing_to_install and not missing_to_read:
        yield fine("rights", f"you have all rights that helm, status and logs require {location}")


def check_namespace(cluster: Cluster) -> Iterator[Finding]:
    """Check that the namespace exists, and report which pods it accepts."""
    name = cluster.namespace
    try:
        metadata = cluster.get(Namespace, name).metadata
    except ApiRefusedError as error:
        if error.status != 404:
            return  # reading namespaces is not allowed, and not required
        yield broken("namespace", f"there is no namespace {name}", f"Run kubectl create namespace {name}.")
        return
    if problem := namespace_problem(name, metadata.deletion_timestamp):
        yield broken("namespace", problem, "To install, use another namespace.")
        return
    level = metadata.labels.get(_ENFORCED, "privileged")
    note = ", which the chart meets" if level == "restricted" else ""
    yield fine("namespace", f"namespace {name} enforces the pod security standard {level}{note}")


def check_pods(release: Release, workers: Sequence[WorkerStatus] = ()) -> Iterator[Finding]:
    """Check the release's pods for problems, failures of earlier pods and storage risks.

    Args:
        release: The release.
        workers: What the chief knows about its workers; empty if it has not answered.
    """
    view = view_release(release, last_lines(release), workers, read_nodes(release, workers))
    parts = [*view.components, *view.workers]
    yield from (broken("pods", f"{part.title}: {part.trouble}") for part in parts if part.trouble)
    yield from (warning("pods", f"{part.title}: the previous pod {part.earlier}") for part in parts if part.earlier)
    for part in view.components:
        if part.risk and part.component == BUCKET:
            yield warning("storage", f"the bucket {part.risk}")
    yield from _risks([part for part in [*view.components, *view.workers] if part.component != BUCKET])
    if not any(part.trouble or part.earlier for part in parts):
        yield fine("pods", f"no pod of release {release.name} has a problem")


def _risks(parts: Sequence[ComponentView]) -> Iterator[Finding]:
    titles_by_risk: dict[str, list[str]] = {}
    for part in parts:
        if part.risk:
            titles_by_risk.setdefault(part.risk, []).append(part.title)
    yield from (warning("pods", f"{joined_titles(titles)}: {risk}") for risk, titles in titles_by_risk.items())


def _rights(rights: Sequence[Right]) -> str:
    by_verb: dict[str, list[str]] = {}
    for right in rights:
        by_verb.setdefault(right.verb, []).append(right.resource)
    return " or ".join(f"{verb} {', '.join(resources)}" for verb, resources in by_verb.items())
