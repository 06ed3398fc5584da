"""The workers' pods, from which the chief reads how a worker ended."""

from dataclasses import dataclass

from k8s.cluster.client import ApiRefusedError, Cluster, connect_from_pod
from k8s.cluster.objects import Pod

CONTAINER = "worker"


@dataclass(frozen=True)
class WorkerPods:
    """The pods of the chief's namespace. The chief's Role allows the chief to get pods."""

    cluster: Cluster

    def was_out_of_memory(self, pod: str) -> bool:
        """Return whether the worker's container was killed at its memory limit; False if the pod no longer exists.

        Raises EnvironmentFailure.
        """
        try:
            statuses = self.cluster.get(Pod, pod).status.container_statuses
        except ApiRefusedError as error:
            if error.status == 404:
                return False
            raise
        return any(
            state.terminated is not None and state.terminated.reason == "OOMKilled"
            for status in statuses
            if status.name == CONTAINER
            for state in (status.state, status.last_state)
        )


def worker_pods() -> WorkerPods:
    """Return the pods of this pod's own namespace. Raises EnvironmentFailure outside a cluster."""
    return WorkerPods(connect_from_pod())
