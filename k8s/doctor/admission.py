"""Check whether the API server would accept a release's pods, with a dry run."""

from collections.abc import Iterator
from typing import Any

from k8s.cluster.client import ApiRefusedError, Cluster
from k8s.cluster.objects import Pod
from k8s.doctor.findings import Finding, broken, fine, warning
from k8s.doctor.requirements import ComponentPods, Requirements
from k8s.release.diagnosis import creation_problem


def check_admission(cluster: Cluster, requirements: Requirements) -> Iterator[Finding]:
    """Check that pod security, policies and priority classes admit the chart's pods."""
    candidates = [pods for pods in requirements.pods if pods.manifest]
    refused: dict[str, list[str]] = {}
    for pods in candidates:
        try:
            cluster.create(Pod, _manifest(pods), dry_run=True)
        except ApiRefusedError as error:
            if error.is_missing_permission:  # a user needs no such right, as Jobs create the pods
                yield warning(
                    "admission",
                    f"you may not create pods in namespace {cluster.namespace}, so admission was not checked",
                )
                return
            if "exceeded quota" in error.reason:
                continue  # check_quotas reports this, and counts all pods
            refused.setdefault(creation_problem(error.reason), []).append(pods.component)
    for reason, components in refused.items():
        yield broken("admission", f"the API server refuses the pods of {', '.join(components)}: {reason}")
    if candidates and not refused:
        accepted = ", ".join(pods.component for pods in candidates)
        yield fine("admission", f"the API server accepts the pods of {accepted}")


def _manifest(pods: ComponentPods) -> dict[str, Any]:
    """Return a pod made from the chart's template, with the namespace's default service account.

    The release's own service account does not exist yet.
    """
    spec = {key: value for key, value in pods.manifest["spec"].items() if key != "serviceAccountName"}
    metadata = {**pods.manifest.get("metadata", {}), "name": f"cifake-tune-doctor-{pods.component}"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
