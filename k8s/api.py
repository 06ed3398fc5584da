"""The Kubernetes API as the readers use it: a call names a type of `k8s.objects`; what goes wrong is a sentence."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, TypeVar

from kubernetes import client
from kubernetes import config as kubernetes_config
from urllib3.exceptions import HTTPError

from k8s import objects, surroundings
from tuner.errors import SurroundingsError, UsageError

REQUEST_TIMEOUT_S = 15.0
SILENCE_S = 7 * 86400.0
"""A pod whose log is followed may be silent for so long; the client takes no "for ever"."""
_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")

Kind = TypeVar("Kind", bound=objects.Object)

_NAMES: dict[type[objects.Object], tuple[str, str]] = {
    objects.Pod: ("CoreV1Api", "namespaced_pod"),
    objects.Event: ("CoreV1Api", "namespaced_event"),
    objects.ConfigMap: ("CoreV1Api", "namespaced_config_map"),
    objects.Secret: ("CoreV1Api", "namespaced_secret"),
    surroundings.Claim: ("CoreV1Api", "namespaced_persistent_volume_claim"),
    surroundings.Quota: ("CoreV1Api", "namespaced_resource_quota"),
    surroundings.LimitRange: ("CoreV1Api", "namespaced_limit_range"),
    surroundings.Node: ("CoreV1Api", "node"),
    surroundings.Namespace: ("CoreV1Api", "namespace"),
    objects.Job: ("BatchV1Api", "namespaced_job"),
    objects.Deployment: ("AppsV1Api", "namespaced_deployment"),
    surroundings.StorageClass: ("StorageV1Api", "storage_class"),
}
"""The group of the client that has a type, and what its methods' names end in."""


class RefusedError(SurroundingsError):
    """The API server said no; `status` is HTTP's, `said` its own words."""

    def __init__(self, text: str, status: int, said: str) -> None:
        super().__init__(text)
        self.status = status
        self.said = said


@dataclass(frozen=True)
class Right:
    """Something that one may do in a namespace, or not."""

    verb: str
    resource: str
    """As RBAC writes it: pods, pods/log, jobs.batch."""

    def __str__(self) -> str:
        return f"{self.verb} {self.resource}"


class Cluster:
    """One API server, and a namespace of it. All methods raise SurroundingsError; RefusedError where it said no."""

    def __init__(self, configuration: Any, namespace: str) -> None:
        configuration.retries = False  # whoever looks can look again
        self.configuration = configuration
        self.namespace = namespace
        self._client = client.ApiClient(configuration)

    @property
    def host(self) -> str:
        """Its URL."""
        return str(self.configuration.host)

    def list(self, kind: type[Kind], labels: str = "", everywhere: bool = False) -> list[Kind]:
        """Return the objects of a type that have these labels; in all namespaces where `everywhere`."""
        suffix = _NAMES[kind][1]
        namespaced = suffix.startswith("namespaced_")
        arguments = [self.namespace] if namespaced and not everywhere else []
        if namespaced and everywhere:
            suffix = f"{suffix.removeprefix('namespaced_')}_for_all_namespaces"
        data = self._call(f"list {_plural(kind)}", kind, f"list_{suffix}", *arguments, label_selector=labels).data
        return objects.ObjectList[kind].model_validate_json(data).items  # type: ignore[valid-type]

    def get(self, kind: type[Kind], name: str) -> Kind:
        """Return one object."""
        suffix = _NAMES[kind][1]
        arguments = [name, self.namespace] if suffix.startswith("namespaced_") else [name]
        answer = self._call(f"read {_singular(kind)} {name}", kind, f"read_{suffix}", *arguments)
        return kind.model_validate_json(answer.data)

    def create(self, kind: type[Kind], body: Mapping[str, Any]) -> Kind:
        """Make an object."""
        name = body["metadata"]["name"]
        suffix = _NAMES[kind][1]
        answer = self._call(f"create {_singular(kind)} {name}", kind, f"create_{suffix}", self.namespace, body)
        return kind.model_validate_json(answer.data)

    def delete(self, kind: type[Kind], name: str) -> None:
        """Delete an object at once; one that does not exist is no error."""
        try:
            suffix = _NAMES[kind][1]
            self._call(
                f"delete {_singular(kind)} {name}",
                kind,
                f"delete_{suffix}",
                name,
                self.namespace,
                grace_period_seconds=0,
            )
        except RefusedError as error:
            if error.status != 404:
                raise

    def log(self, pod: str, tail: int | None = None, container: str | None = None) -> str:
        """Return what a pod has written, or its last lines; "" where there is no log (any more)."""
        more = ({"tail_lines": tail} if tail else {}) | ({"container": container} if container else {})
        try:
            answer = self._call(
                f"read the log of pod {pod}", objects.Pod, "read_namespaced_pod_log", pod, self.namespace, **more
            )
        except RefusedError as error:
            if error.status in (400, 404):  # not started yet; gone
                return ""
            raise
        return str(answer.data.decode(errors="replace"))

    def follow_log(self, pod: str) -> Iterator[str]:
        """Yield the lines of a pod as they come, until it ends."""
        answer = self._call(
            f"follow the log of pod {pod}",
            objects.Pod,
            "read_namespaced_pod_log",
            pod,
            self.namespace,
            follow=True,
            _request_timeout=(REQUEST_TIMEOUT_S, SILENCE_S),
        )
        rest = b""
        try:
            for piece in answer.stream(decode_content=False):
                *lines, rest = (rest + piece).split(b"\n")
                yield from (line.decode(errors="replace") for line in lines)
        except HTTPError:
            pass  # the connection ended, as it does with the pod's node
        if rest:
            yield rest.decode(errors="replace")

    def may(self, right: Right) -> bool:
        """Say whether we have a right here."""
        resource, _, subresource = right.resource.partition("/")
        resource, _, group = resource.partition(".")
        attributes = {"verb": right.verb, "resource": resource, "namespace": self.namespace, "group": group}
        body = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": {**attributes, "subresource": subresource}},
        }
        api = client.AuthorizationV1Api(self._client)
        answer = self._try("ask for our rights", api.create_self_subject_access_review, body)
        return surroundings.Review.model_validate_json(answer.data).status.allowed

    def clock(self) -> float | None:
        """Return the API server's clock, in seconds since 1970, as far as it says so; its answer shows it is there."""
        answer = self._try("be reached", client.VersionApi(self._client).get_code)
        date = answer.headers.get("Date")
        return parsedate_to_datetime(date).timestamp() if date else None

    def _call(self, what: str, kind: type[objects.Object], method: str, *arguments: Any, **more: Any) -> Any:
        api = getattr(client, _NAMES[kind][0])(self._client)
        return self._try(what, getattr(api, method), *arguments, **more)

    def _try(self, what: str, call: Any, *arguments: Any, **more: Any) -> Any:
        how = {"_preload_content": False, "_request_timeout": REQUEST_TIMEOUT_S}
        try:
            return call(*arguments, **(how | more))
        except client.ApiException as error:
            raise _refused(what, self.namespace, error) from None
        except HTTPError as error:
            reason = getattr(error, "reason", None) or error
            raise SurroundingsError(
                f"the Kubernetes API at {self.host} cannot be reached ({_short(reason)}); check the context of your "
                "kubeconfig (kubectl config get-contexts), VPN and proxy."
            ) from None


def connect(namespace: str | None, context: str | None) -> Cluster:
    """Return the cluster of the kubeconfig's context, or the one that this pod runs in.

    `namespace`: None is the context's, or the pod's. Raises UsageError where there is neither, or no such context.
    """
    configuration = client.Configuration()
    if context is None and "KUBERNETES_SERVICE_HOST" in os.environ and "KUBECONFIG" not in os.environ:
        try:
            kubernetes_config.load_incluster_config(client_configuration=configuration)
            return Cluster(configuration, namespace or _NAMESPACE.read_text(encoding="utf-8").strip())
        except (kubernetes_config.ConfigException, OSError) as error:
            raise UsageError(
                f"this pod has no service-account token ({error}); ask from a machine with a kubeconfig."
            ) from None
    try:
        known, current = kubernetes_config.list_kube_config_contexts()
        chosen = next(c for c in known if c["name"] == context) if context else current
        kubernetes_config.load_kube_config(context=context, client_configuration=configuration)
    except StopIteration:
        raise UsageError(
            f"the kubeconfig has no context {context!r}; it has {', '.join(str(c['name']) for c in known)}."
        ) from None
    except (kubernetes_config.ConfigException, OSError, ValueError) as error:
        raise UsageError(
            f"no cluster is configured ({_short(error)}); set KUBECONFIG to a kubeconfig, or make one with your "
            "cloud's command (gcloud container clusters get-credentials NAME)."
        ) from None
    return Cluster(configuration, namespace or chosen.get("context", {}).get("namespace") or "default")


def _refused(what: str, namespace: str, error: Any) -> RefusedError:
    said = _message(error)
    match error.status:
        case 401:
            text = "the Kubernetes API does not know you (401); log in again, or renew the kubeconfig's credentials."
        case 403 if "is forbidden: User" in said or "cannot" in said:
            text = f"you may not {what} in namespace {namespace} ({said}); ask for a Role that allows it."
        case _:
            text = f"cannot {what} in namespace {namespace} ({error.status}): {said}"
    return RefusedError(text, int(error.status or 0), said)


def _message(error: Any) -> str:
    try:
        return str(_Status.model_validate_json(error.body).message) or str(error.reason)
    except ValueError:
        return _short(error.reason or error.body or error)


class _Status(objects.Part):
    """What the API server answers when it says no."""

    message: str = ""


def _short(error: object) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 200 else f"{text[:200]}…"


def _singular(kind: type[objects.Object]) -> str:
    return {"Claim": "PersistentVolumeClaim", "Quota": "ResourceQuota"}.get(kind.__name__, kind.__name__)


def _plural(kind: type[objects.Object]) -> str:
    name = _singular(kind)
    return f"{name}es" if name.endswith("s") else f"{name}s"
