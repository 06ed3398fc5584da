"""The evaluator's Job. Helm creates it suspended and without parallelism; the chief starts it and watches it.

Kueue resumes each Job that it manages as soon as there is room, so `suspend` alone cannot keep such a Job from running.
A Job without parallelism has no pods and uses no quota. When its parallelism changes, Kueue queues the Job again.
"""

from dataclasses import dataclass
from enum import Enum, auto

from k8s.cluster.client import ApiRefusedError, Cluster, connect_from_pod
from k8s.cluster.objects import Job
from tuner.errors import EnvironmentFailure, NoResultError

_HINTS = {
    403: "the chief's Role must allow get and patch on this Job",
    404: "the Job does not exist; run `helm upgrade` to create it again",
}
"""What to do about a refusal, by HTTP status."""


class JobState(Enum):
    """Progress of the Job."""

    SUSPENDED = auto()  # or without parallelism
    UNDER_WAY = auto()  # waiting in a queue or for a node, or running
    COMPLETE = auto()
    FAILED = auto()  # permanently, because the Job's own retries are used up


@dataclass(frozen=True)
class EvaluationJob:
    """The evaluator's Job. The chief's Role allows the chief to get and patch it.

    All methods raise EnvironmentFailure if the API server refuses or cannot be reached; the caller retries.
    """

    name: str
    cluster: Cluster

    def start(self) -> None:
        """Let the Job create its pod. A Job that is running or has finished is not affected.

        Only Kueue may resume a Job that it manages.
        """
        try:
            is_queued = bool(self.cluster.get(Job, self.name).queue)
            resumed = {} if is_queued else {"suspend": False}
            self.cluster.patch(Job, self.name, {"spec": {"parallelism": 1, **resumed}})
        except ApiRefusedError as error:
            raise self._failure("started", error) from None

    def state(self) -> JobState:
        """Return the progress of the Job."""
        try:
            job = self.cluster.get(Job, self.name)
        except ApiRefusedError as error:
            raise self._failure("read", error) from None
        if job.condition("Complete"):
            return JobState.COMPLETE
        if job.condition("Failed"):
            return JobState.FAILED
        return JobState.UNDER_WAY if job.has_started else JobState.SUSPENDED

    def failed(self) -> NoResultError:
        """Return the error of an evaluation that has failed permanently."""
        return NoResultError(
            f"the evaluation failed. Run `kubectl logs -n {self.cluster.namespace} job/{self.name}` to see the reason, "
            "fix it, and run `helm upgrade` to evaluate again. The finished search is kept."
        )

    def _failure(self, action: str, error: ApiRefusedError) -> EnvironmentFailure:
        hint = _HINTS.get(error.status, error.reason)
        return EnvironmentFailure(
            f"the Job {self.name} in namespace {self.cluster.namespace} cannot be {action} ({error.status}): {hint}."
        )


def in_cluster(name: str) -> EvaluationJob:
    """Return the Job of that name in this pod's own namespace. Raises EnvironmentFailure outside a cluster."""
    try:
        return EvaluationJob(name, connect_from_pod())
    except EnvironmentFailure as error:
        raise EnvironmentFailure(f"the Job {name} cannot be started: {error}") from None
