"""What `doctor` looks at through the Kubernetes API: itself, rights, the namespace, volumes, a release's pods."""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from k8s.cluster.client import ApiRefusedError, Cluster, Right
from k8s.cluster.resources import Namespace
from k8s.doctor.findings import Finding, broken, clock_finding, fine, warning
from k8s.release.release import Release
from k8s.release.status import last_lines, view_release

INSTALL = [
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
LOOK = [
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
    """Is the API there, and do its clock and ours agree? Raises EnvironmentFailure where it is not."""
    began = time.monotonic()
    theirs = cluster.clock()
    took_ms = (time.monotonic() - began) * 1000
    yield fine("API", f"the Kubernetes API at {cluster.host} answers in {took_ms:.0f} ms")
    if theirs is not None:
        yield clock_finding("clock", time.time(), theirs, "this machine", "the API server")


def check_rights(cluster: Cluster, installed: bool) -> Iterator[Finding]:
    """May we install, and may we look?"""
    with ThreadPoolExecutor(8) as pool:
        allowed = dict(zip([*INSTALL, *LOOK], pool.map(cluster.may, [*INSTALL, *LOOK]), strict=True))
    where = f"in namespace {cluster.namespace}"
    install = [right for right in INSTALL if not allowed[right]]
    look = [right for right in LOOK if not allowed[right]]
    grant = f"kubectl create rolebinding NAME -n {cluster.namespace} --user=YOU --clusterrole="
    if install:
        what = f"you may not {_rights(install)} {where}, so helm {'upgrade' if installed else 'install'} fails"
        yield (warning if installed else broken)("rights", what, f"Have an administrator run {grant}admin.")
    if look:
        what = f"you may not {_rights(look)} {where}, so status and logs say less"
        yield warning("rights", what, f"Have an administrator run {grant}edit.")
    if not install and not look:
        yield fine("rights", f"you may do all that helm, status and logs do {where}")


def check_namespace(cluster: Cluster) -> Iterator[Finding]:
    """Is it there, and which pods does it take?"""
    name = cluster.namespace
    try:
        labels = cluster.get(Namespace, name).metadata.labels
    except ApiRefusedError as error:
        if error.status != 404:
            return  # we may not look at namespaces, and need not
        yield broken("namespace", f"there is no namespace {name}", f"kubectl create namespace {name}, or another name.")
        return
    level = labels.get(_ENFORCED, "privileged")
    keeps = ", which the chart keeps to" if level == "restricted" else ""
    yield fine("namespace", f"namespace {name} enforces the pod security standard {level}{keeps}")


def check_pods(release: Release) -> Iterator[Finding]:
    """Do the release's pods do their work?"""
    view = view_release(release, last_lines(release), [])
    everyone = [*view.components, *view.workers]
    yield from (broken("pods", f"{each.title} {each.trouble}") for each in everyone if each.trouble)
    yield from (warning("pods", f"{each.title}: the pod before {each.earlier}") for each in everyone if each.earlier)
    yield from (warning("storage", f"the {each.title} {each.risk}") for each in everyone if each.risk)
    if not any(each.trouble or each.earlier for each in everyone):
        yield fine("pods", f"no pod of release {release.name} is in trouble")


def _rights(rights: Sequence[Right]) -> str:
    by_verb: dict[str, list[str]] = {}
    for right in rights:
        by_verb.setdefault(right.verb, []).append(right.resource)
    return " or ".join(f"{verb} {', '.join(resources)}" for verb, resources in by_verb.items())
