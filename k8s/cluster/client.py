"""The Kubernetes API as the readers use it: a call names a type of `objects`, and an error is one sentence.

Of the official client come the kubeconfig, the credentials and the connections. Its methods do not: they bring a model
of every object there is, which takes most of a second, and whoever asks `status` waits for it.
"""

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

from kubernetes import client
from kubernetes import config as kubernetes_config
from kubernetes.client import rest
from urllib3 import Timeout
from urllib3.exceptions import HTTPError

from k8s.cluster import objects, resources
from tuner.errors import EnvironmentFailure, UsageError

REQUEST_TIMEOUT_S = 15.0
SILENCE_S = 7 * 86400.0
"""A pod whose log is followed may be silent for so long; the client takes no "for ever"."""
_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")

Kind = TypeVar("Kind", bound=objects.Object)

_CORE, _BATCH, _APPS, _STORAGE = "/api/v1", "/apis/batch/v1", "/apis/apps/v1", "/apis/storage.k8s.io/v1"
_PATHS: dict[type[objects.Object], tuple[str, str]] = {
    objects.Pod: (_CORE, "pods"),
    objects.Event: (_CORE, "events"),
    objects.ConfigMap: (_CORE, "configmaps"),
    objects.Secret: (_CORE, "secrets"),
    resources.Claim: (_CORE, "persistentvolumeclaims"),
    resources.Quota: (_CORE, "resourcequotas"),
    resources.LimitRange: (_CORE, "limitranges"),
    resources.Node: (_CORE, "nodes"),
    resources.Namespace: (_CORE, "namespaces"),
    objects.Job: (_BATCH, "jobs"),
    objects.Deployment: (_APPS, "deployments"),
    resources.StorageClass: (_STORAGE, "storageclasses"),
}
"""The group and version that have a type, and its name in their paths."""
_OF_THE_CLUSTER = (resources.Node, resources.Namespace, resources.StorageClass)
"""Types whose objects are in no namespace."""


class ApiRefusedError(EnvironmentFailure):
    """The API server said no; `status` is HTTP's, `said` its own words."""

    def __init__(self, text: str, status: int, said: str) -> None:
        super().__init__(text)
        self.status = status
        self.said = said

    @property
    def is_about_us(self) -> bool:
        """Say whether we lack the right, rather than what we asked for being wrong."""
        return self.status == 403 and "cannot" in self.said and "in API group" in self.said


@dataclass(frozen=True)
class Right:
    """Something that one may do in a namespace, or not."""

    verb: str
    resource: str
    """As RBAC writes it: pods, pods/log, jobs.batch."""

    def __str__(self) -> str:
        return f"{self.verb} {self.resource}"


class Cluster:
    """One API server, and a namespace of it. All methods raise EnvironmentFailure; ApiRefusedError where it said no."""

    def __init__(self, configuration: Any, namespace: str) -> None:
        configuration.retries = False  # whoever looks can look again
        self.configuration = configuration
        self.namespace = namespace
        self._connections = rest.RESTClientObject(configuration).pool_manager

    @property
    def host(self) -> str:
        """Its URL."""
        return str(self.configuration.host)

    def list(self, kind: type[Kind], labels: str = "", everywhere: bool = False) -> list[Kind]:
        """Return the objects of a type that have these labels; in all namespaces where `everywhere`."""
        answer = self._call(f"list {_plural(kind)}", "GET", self._path(kind, everywhere), {"labelSelector": labels})
        return objects.ObjectList[kind].model_validate_json(answer.data).items  # type: ignore[valid-type]

    def get(self, kind: type[Kind], name: str) -> Kind:
        """Return one object."""
        answer = self._call(f"read {_singular(kind)} {name}", "GET", f"{self._path(kind)}/{quote(name)}")
        return kind.model_validate_json(answer.data)

    def create(self, kind: type[Kind], body: Mapping[str, Any], dry_run: bool = False) -> Kind:
        """Make an object; on a dry run the API server only says whether it would."""
        name, query = body["metadata"]["name"], {"dryRun": "All"} if dry_run else {}
        answer = self._call(f"create {_singular(kind)} {name}", "POST", self._path(kind), query, body)
        return kind.model_validate_json(answer.data)

    def delete(self, kind: type[Kind], name: str) -> None:
        """Delete an object at once; one that does not exist is no error."""
        path = f"{self._path(kind)}/{quote(name)}"
        try:
            self._call(f"delete {_singular(kind)} {name}", "DELETE", path, {"gracePeriodSeconds": 0})
        except ApiRefusedError as error:
            if error.status != 404:
                raise

    def log(self, pod: str, tail: int | None = None, container: str | None = None) -> str:
        """Return what a pod has written, or its last lines; "" where there is no log (any more)."""
        more = ({"tailLines": tail} if tail else {}) | ({"container": container} if container else {})
        try:
            answer = self._call(f"read the log of pod {pod}", "GET", self.path_of_pod(pod, "log"), more)
        except ApiRefusedError as error:
            if error.status in (400, 404):  # not started yet; gone
                return ""
            raise
        return str(answer.data.decode(errors="replace"))

    def follow_log(self, pod: str) -> Iterator[str]:
        """Yield the lines of a pod as they come, until it ends."""
        answer = self._call(
            f"follow the log of pod {pod}", "GET", self.path_of_pod(pod, "log"), {"follow": "true"}, stream=True
        )
        part = b""
        try:
            for piece in answer.stream(decode_content=False):
                *lines, part = (part + piece).split(b"\n")
                yield from (line.decode(errors="replace") for line in lines)
        except HTTPError:
            pass  # the connection ended, as it does with the pod's node
        if part:
            yield part.decode(errors="replace")

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
        path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
        answer = self._call("ask for our rights", "POST", path, body=body)
        return resources.Review.model_validate_json(answer.data).status.allowed

    def clock(self) -> float | None:
        """Return the API server's clock, in seconds since 1970, as far as it says so; its answer shows it is there."""
        answer = self._call("be reached", "GET", "/version")
        date = answer.headers.get("Date")
        return parsedate_to_datetime(date).timestamp() if date else None

    def path_of_pod(self, pod: str, what: str) -> str:
        """Return the path of something that a pod has, such as its log."""
        return f"{self._path(objects.Pod)}/{quote(pod)}/{what}"

    def credentials(self) -> dict[str, str]:
        """Return the headers that say who we are, where the connection itself does not."""
        return {each["key"]: each["value"] for each in self.configuration.auth_settings().values() if each["value"]}

    def _path(self, kind: type[objects.Object], everywhere: bool = False) -> str:
        group, name = _PATHS[kind]
        return (
            f"{group}/{name}"
            if everywhere or kind in _OF_THE_CLUSTER
            else (f"{group}/namespaces/{quote(self.namespace)}/{name}")
        )

    def _call(
        self,
        what: str,
        method: str,
        path: str,
        query: Mapping[str, Any] | None = None,
        body: Mapping[str, Any] | None = None,
        stream: bool = False,
    ) -> Any:
        """Return the answer; where it is a stream, its body is to be read."""
        headers = {"Accept": "application/json, */*", "Content-Type": "application/json", **self.credentials()}
        given = {key: value for key, value in (query or {}).items() if value != ""}
        url = f"{self.host}{path}{'?' if given else ''}{urlencode(given)}"
        timeout = Timeout(connect=REQUEST_TIMEOUT_S, read=SILENCE_S if stream else REQUEST_TIMEOUT_S)
        try:
            answer = self._connections.request(
                method,
                url,
                body=None if body is None else json.dumps(body),
                headers=headers,
                timeout=timeout,
                preload_content=not stream,
            )
        except HTTPError as error:
            reason = getattr(error, "reason", None) or error
            raise EnvironmentFailure(
                f"the Kubernetes API at {self.host} cannot be reached ({_short(reason)}); check the context of your "
                "kubeconfig (kubectl config get-contexts), VPN and proxy."
            ) from None
        if answer.status >= 400:
            raise _refused(what, self.namespace, answer)
        return answer


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


def _refused(what: str, namespace: str, answer: Any) -> ApiRefusedError:
    said = _message(answer)
    match answer.status:
        case 401:
            text = "the Kubernetes API does not know you (401); log in again, or renew the kubeconfig's credentials."
        case 403 if "is forbidden: User" in said or "cannot" in said:
            text = f"you may not {what} in namespace {namespace} ({said}); ask for a Role that allows it."
        case _:
            text = f"cannot {what} in namespace {namespace} ({answer.status}): {said}"
    return ApiRefusedError(text, int(answer.status), said)


def _message(answer: Any) -> str:
    try:
        return str(_Status.model_validate_json(answer.data).message) or str(answer.reason)
    except ValueError:
        return _short(answer.reason or answer.data.decode(errors="replace"))


class _Status(objects.ApiModel):
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
