"""The evaluation's Job: created suspended, started by the chief, and watched until it is over."""

from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from typing import Any

from kubernetes import client
from kubernetes import config as kubernetes_config
from urllib3.exceptions import HTTPError

from tuner.errors import EnvironmentFailure, NoResultError

REQUEST_TIMEOUT_S = 20
_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


class JobState(Enum):
    """How far the Job is."""

    UNDER_WAY = auto()  # suspended, waiting for a node, or at work
    COMPLETE = auto()
    FAILED = auto()  # for good: its own retries are used up


@dataclass(frozen=True)
class EvaluationJob:
    """The one Job that the chief may change. All methods raise EnvironmentFailure where the API server refuses."""

    name: str
    namespace: str
    api: Any
    """A kubernetes.client.BatchV1Api."""

    def start(self) -> None:
        """Let it run; one that runs, or has run, goes on as it is."""
        self._call(
            self.api.patch_namespaced_job, self.name, self.namespace, {"spec": {"suspend": False}}, what="started"
        )

    def state(self) -> JobState:
        """Return how far it is."""
        job = self._call(self.api.read_namespaced_job, self.name, self.namespace, what="read")
        conditions = {c.type for c in job.status.conditions or () if c.status == "True"}
        if "Complete" in conditions:
            return JobState.COMPLETE
        return JobState.FAILED if "Failed" in conditions else JobState.UNDER_WAY

    def failed(self) -> NoResultError:
        """Return the error of an evaluation that has failed for good."""
        return NoResultError(
            f"the evaluation failed; `kubectl logs -n {self.namespace} job/{self.name}` says why. The search is over "
            "and kept: `helm upgrade` with what mends it evaluates again."
        )

    def _call(self, call: Any, *arguments: Any, what: str) -> Any:
        try:
            return call(*arguments, _request_timeout=REQUEST_TIMEOUT_S)
        except client.ApiException as error:
            hint = {
                403: "the chief's Role must allow get and patch on it",
                404: "there is no such Job; `helm upgrade` makes it again",
            }.get(error.status, str(error.reason))
            raise EnvironmentFailure(
                f"the Job {self.name} in namespace {self.namespace} cannot be {what} ({error.status}): {hint}."
            ) from None
        except HTTPError as error:
            raise EnvironmentFailure(f"the Kubernetes API cannot be reached: {error}.") from None


def in_cluster(name: str) -> EvaluationJob:
    """Return the Job of that name in this pod's own namespace. Raises EnvironmentFailure outside a cluster."""
    configuration = client.Configuration()
    try:
        kubernetes_config.load_incluster_config(client_configuration=configuration)
        namespace = _NAMESPACE.read_text(encoding="utf-8").strip()
    except (kubernetes_config.ConfigException, OSError) as error:
        raise EnvironmentFailure(
            f"this process has no service-account token of a cluster, so it cannot start the Job {name}: {error}."
        ) from None
    configuration.retries = False  # the chief repeats what fails, with its own pauses
    return EvaluationJob(name, namespace, client.BatchV1Api(client.ApiClient(configuration)))
