"""The chief's own Job. The chief ends it if a replacement of its pod would fail for the same reason."""

from dataclasses import dataclass

from k8s.cluster.client import Cluster, connect_from_pod
from k8s.cluster.objects import Job


@dataclass(frozen=True)
class OwnJob:
    """The Job of this pod. The chief's Role allows the chief to get and patch it."""

    name: str
    cluster: Cluster

    def end(self) -> None:
        """Make the Job fail as soon as this pod fails, and create no more pods.

        A limit of the failures keeps the failed pod, and with it the log that explains the failure. A deadline would
        delete the pod. Raises EnvironmentFailure.
        """
        failed = self.cluster.get(Job, self.name).status.failed
        self.cluster.patch(Job, self.name, {"spec": {"backoffLimit": failed}})


def own_job(name: str) -> OwnJob:
    """Return the Job of that name in this pod's own namespace. Raises EnvironmentFailure outside a cluster."""
    return OwnJob(name, connect_from_pod())
