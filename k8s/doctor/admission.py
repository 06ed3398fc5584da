"""Would the API server take a release's pods? It is asked, and makes none."""

from collections.abc import Iterator
from typing import Any

from k8s.cluster.client import ApiRefusedError, Cluster
from k8s.cluster.objects import Pod
from k8s.doctor.findings import Finding, broken, fine, warning
from k8s.doctor.requirements import Needs, Pods
from k8s.release.diagnosis import creation_problem


def check_admission(cluster: Cluster, needs: Needs) -> Iterator[Finding]:
    """Do pod security, policies and priority classes let the chart's pods in?"""
    asked = [pods for pods in needs.pods if pods.manifest]
    refused: dict[str, list[str]] = {}
    for pods in asked:
        try:
            cluster.create(Pod, _manifest(pods), dry_run=True)
        except ApiRefusedError as error:
            if error.is_missing_permission:  # Jobs make the pods, not whoever installs
                yield warning(
                    "admission", f"you may not create pods in namespace {cluster.namespace}, so none was tried"
                )
                return
            if "exceeded quota" in error.reason:
                continue  # the quota's own check reckons with all pods
            refused.setdefault(creation_problem(error.reason), []).append(pods.component)
    for why, components in refused.items():
        yield broken("admission", f"the API server refuses the pods of {', '.join(components)}: {why}")
    if asked and not refused:
        yield fine("admission", f"the API server takes the pods of {', '.join(pods.component for pods in asked)}")


def _manifest(pods: Pods) -> dict[str, Any]:
    """A pod as the template makes it, of the namespace's own service account: the release's is still to come."""
    spec = {key: value for key, value in pods.manifest["spec"].items() if key != "serviceAccountName"}
    metadata = {**pods.manifest.get("metadata", {}), "name": f"cifake-tune-doctor-{pods.component}"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
