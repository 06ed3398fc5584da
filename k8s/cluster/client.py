"""The Kubernetes client. Its methods take the class of a Kubernetes object, and each of its errors is one sentence.

The classes are those of `objects` and `resources`.

The official client provides the kubeconfig, the credentials and the connections. Its API methods are not used, because
they import a model of every Kubernetes object, which takes most of a second at each start of `cifake-tune status`.
"""

import ipaddress
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, urlencode, urlsplit
from urllib.request import getproxies

from kubernetes import client
from kubernetes import config as kubernetes_config
from kubernetes.client import rest
from urllib3 import Timeout
from urllib3.exceptions import HTTPError

from k8s.cluster import objects, resources
from k8s.cluster.text import shortened
from tuner.errors import EnvironmentFailure, UsageError

REQUEST_TIMEOUT_S = 15.0
MAX_SILENCE_S = 7 * 86400.0
"""Seconds without output after which following a pod's log ends. The HTTP client requires a limit."""
_KUBECONFIG_HINT = "check the context of your kubeconfig (kubectl config get-contexts), your VPN and your proxy"
_POD_HINT = "check that NetworkPolicies allow this pod to call the API server"
_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")

_NO_LOG = ("unable to retrieve container logs for ", "failed to try resolving symlinks in path ")
"""How a kubelet answers, with status 200, if a container's log was deleted."""
_NO_LOG_BYTES = tuple(text.encode() for text in _NO_LOG)

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
"""For each type, the API path of its group and version, and its plural name in that path."""
_CLUSTER_SCOPED = (resources.Node, resources.Namespace, resources.StorageClass)
"""Types whose objects do not belong to a namespace."""


class ApiRefusedError(EnvironmentFailure):
    """The API server refused a request. `status` is the HTTP status, `reason` the server's own message."""

    def __init__(self, text: str, status: int, reason: str) -> None:
        super().__init__(text)
        self.status = status
        self.reason = reason

    @property
    def is_missing_permission(self) -> bool:
        """Whether the server refused the request because the caller lacks a permission."""
        return self.status == 403 and "cannot" in self.reason and "in API group" in self.reason


@dataclass(frozen=True)
class Right:
    """A permission in a namespace."""

    verb: str
    resource: str
    """The resource as in RBAC: pods, pods/log, jobs.batch."""

    def __str__(self) -> str:
        return f"{self.verb} {self.resource}"


class Cluster:
    """One namespace of a cluster.

    Methods raise ApiRefusedError if the API server refuses a request, and EnvironmentFailure if it cannot be reached.
    Requests are not retried, because a user can run the command again, and the chief has its own back-off.
    """

    def __init__(self, configuration: Any, namespace: str, hint: str = _KUBECONFIG_HINT) -> None:
        """Connect with a configuration of the official client.

        Args:
            configuration: A kubernetes.client.Configuration.
            namespace: Namespace of all calls that concern namespaced objects.
            hint: What to check if the API server cannot be reached, for the error message.
        """
        configuration.retries = False
        self.configuration = configuration
        self.namespace = namespace
        self._hint = hint
        self._connections = rest.RESTClientObject(configuration).pool_manager

    @property
    def host(self) -> str:
        """URL of the API server."""
        return str(self.configuration.host)

    def list(self, kind: type[Kind], labels: str = "", everywhere: bool = False) -> list[Kind]:
        """Return the objects of a type that have these labels, from all namespaces if `everywhere` is true."""
        response = self._call(f"list {_plural(kind)}", "GET", self._path(kind, everywhere), {"labelSelector": labels})
        return objects.ObjectList[kind].model_validate_json(response.data).items  # type: ignore[valid-type]

    def get(self, kind: type[Kind], name: str) -> Kind:
        """Return the object of that name."""
        response = self._call(f"read {_singular(kind)} {name}", "GET", self._path_of(kind, name))
        return kind.model_validate_json(response.data)

    def create(self, kind: type[Kind], body: Mapping[str, Any], dry_run: bool = False) -> Kind:
        """Create an object. In a dry run, the API server only checks whether it would accept the object."""
        name, query = body["metadata"]["name"], {"dryRun": "All"} if dry_run else {}
        response = self._call(f"create {_singular(kind)} {name}", "POST", self._path(kind), query, body)
        return kind.model_validate_json(response.data)

    def patch(self, kind: type[Kind], name: str, body: Mapping[str, Any], manager: str = "") -> Kind:
        """Merge `body` into an object (JSON merge patch) and return the object.

        The API server notes `manager` as the manager of the changed fields.
        """
        query = {"fieldManager": manager}
        response = self._call(f"patch {_singular(kind)} {name}", "PATCH", self._path_of(kind, name), query, body)
        return kind.model_validate_json(response.data)

    def apply(self, kind: type[Kind], body: Mapping[str, Any], manager: str) -> Kind:
        """Create an object by a server-side apply, or change it.

        Unlike `create`, this needs no right to create objects of other names. The API server refuses a change of fields
        that belong to another manager (409).
        """
        name, query = body["metadata"]["name"], {"fieldManager": manager}
        content_type = "application/apply-patch+yaml"
        path = self._path_of(kind, name)
        response = self._call(f"create {_singular(kind)} {name}", "PATCH", path, query, body, content_type=content_type)
        return kind.model_validate_json(response.data)

    def delete(self, kind: type[Kind], name: str) -> None:
        """Delete an object immediately. If it does not exist, do nothing."""
        query = {"gracePeriodSeconds": 0}
        try:
            self._call(f"delete {_singular(kind)} {name}", "DELETE", self._path_of(kind, name), query)
        except ApiRefusedError as error:
            if error.status != 404:
                raise

    def log(self, pod: str, tail: int | None = None, container: str | None = None) -> str:
        """Return the log of a pod, or its last `tail` lines; "" if the pod has no log, or its node has none of it."""
        query = ({"tailLines": tail} if tail else {}) | ({"container": container} if container else {})
        try:
            response = self._call(f"read the log of pod {pod}", "GET", self.path_of_pod(pod, "log"), query)
        except ApiRefusedError as error:
            if error.status in (400, 404):  # the container has not started; the pod was deleted
                return ""
            raise
        text = str(response.data.decode(errors="replace"))
        return "" if text.startswith(_NO_LOG) else text

    def follow_log(self, pod: str, container: str = "") -> Iterator[str]:
        """Yield the lines of a pod's log as they are written, until the pod's container ends."""
        query = {"follow": "true", "container": container}
        response = self._call(f"follow the log of pod {pod}", "GET", self.path_of_pod(pod, "log"), query, stream=True)
        rest_of_line = b""
        try:
            for chunk in response.stream(decode_content=False):
                *lines, rest_of_line = (rest_of_line + chunk).split(b"\n")
                yield from (line.decode(errors="replace") for line in lines if not line.startswith(_NO_LOG_BYTES))
        except HTTPError:
            pass  # the connection ended, for example because the pod's node was lost
        if rest_of_line and not rest_of_line.startswith(_NO_LOG_BYTES):
            yield rest_of_line.decode(errors="replace")

    def may(self, right: Right) -> bool:
        """Return whether the caller has a right in this namespace."""
        resource, _, subresource = right.resource.partition("/")
        resource, _, group = resource.partition(".")
        attributes = {"verb": right.verb, "resource": resource, "namespace": self.namespace, "group": group}
        body = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": {**attributes, "subresource": subresource}},
        }
        path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
        response = self._call("check your rights", "POST", path, body=body)
        return resources.Review.model_validate_json(response.data).status.allowed

    def clock(self) -> float | None:
        """Return the time of the API server in seconds since 1970, or None if its response has no date.

        This also checks that the API server can be reached.
        """
        response = self._call("read the API server's version", "GET", "/version")
        date = response.headers.get("Date")
        return parsedate_to_datetime(date).timestamp() if date else None

    def path_of_pod(self, pod: str, subresource: str) -> str:
        """Return the path of a subresource of a pod, such as its log."""
        return f"{self._path_of(objects.Pod, pod)}/{subresource}"

    def credentials(self) -> dict[str, str]:
        """Return the headers that authenticate the caller; none if a client certificate does."""
        settings = self.configuration.auth_settings().values()
        return {setting["key"]: setting["value"] for setting in settings if setting["value"]}

    def _path_of(self, kind: type[objects.Object], name: str) -> str:
        return f"{self._path(kind)}/{quote(name)}"

    def _path(self, kind: type[objects.Object], everywhere: bool = False) -> str:
        group, name = _PATHS[kind]
        return (
            f"{group}/{name}"
            if everywhere or kind in _CLUSTER_SCOPED
            else (f"{group}/namespaces/{quote(self.namespace)}/{name}")
        )

    def _call(
        self,
        action: str,
        method: str,
        path: str,
        query: Mapping[str, Any] | None = None,
        body: Mapping[str, Any] | None = None,
        stream: bool = False,
        content_type: str = "",
    ) -> Any:
        """Send a request and return the response.

        Args:
            action: What the request does, as a verb phrase for error messages.
            method: The HTTP method.
            path: Path of the resource.
            query: Query parameters. Those with the value "" are omitted.
            body: Content of the request, sent as JSON.
            stream: Whether the caller reads the body of the response as a stream.
            content_type: Type of the body. Default: that of a JSON merge patch for PATCH, else JSON.
        """
        content_type = content_type or ("application/merge-patch+json" if method == "PATCH" else "application/json")
        headers = {"Accept": "application/json, */*", "Content-Type": content_type, **self.credentials()}
        parameters = {key: value for key, value in (query or {}).items() if value != ""}
        url = f"{self.host}{path}{'?' if parameters else ''}{urlencode(parameters)}"
        timeout = Timeout(connect=REQUEST_TIMEOUT_S, read=MAX_SILENCE_S if stream else REQUEST_TIMEOUT_S)
        try:
            response = self._connections.request(
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
                f"the Kubernetes API at {self.host} cannot be reached ({_short(reason)}); {self._hint}."
            ) from None
        if response.status >= 400:
            raise _refused(action, self.namespace, response)
        return response


def connect_from_pod(namespace: str | None = None) -> Cluster:
    """Return the cluster in which this pod runs. The default namespace is the pod's own.

    Raises EnvironmentFailure if the process has no service-account token.
    """
    configuration = client.Configuration()
    try:
        kubernetes_config.load_incluster_config(client_configuration=configuration)
        _bypass_proxies(configuration)  # the API server is in the pod's own cluster
        return Cluster(configuration, namespace or _NAMESPACE.read_text(encoding="utf-8").strip(), _POD_HINT)
    except (kubernetes_config.ConfigException, OSError) as error:
        raise EnvironmentFailure(
            f"this process has no service-account token for the Kubernetes API ({error})."
        ) from None


def connect(namespace: str | None, context: str | None) -> Cluster:
    """Return the cluster that a kubeconfig context names, or the one in which this pod runs.

    Args:
        namespace: Default: that of the context (`default` if the context has none) or of the pod.
        context: Name of a kubeconfig context. Default: the pod's own cluster, in a pod without KUBECONFIG; elsewhere
            the kubeconfig's current context.

    Raises:
        UsageError: The kubeconfig or its context is missing or unusable, or the pod has no service-account token.
    """
    if context is None and "KUBERNETES_SERVICE_HOST" in os.environ and "KUBECONFIG" not in os.environ:
        try:
            return connect_from_pod(namespace)
        except EnvironmentFailure as error:
            raise UsageError(f"{error} Set KUBECONFIG to the path of a kubeconfig.") from None
    configuration = client.Configuration()
    try:
        contexts, current = kubernetes_config.list_kube_config_contexts()
        chosen = next(c for c in contexts if c["name"] == context) if context else current
        kubernetes_config.load_kube_config(context=context, client_configuration=configuration)
    except StopIteration:
        raise UsageError(
            f"the kubeconfig has no context {context!r}; use one of {', '.join(str(c['name']) for c in contexts)}."
        ) from None
    except (kubernetes_config.ConfigException, OSError, ValueError) as error:
        raise UsageError(
            f"no cluster is configured ({_short(error)}); set KUBECONFIG to the path of a kubeconfig, or create one "
            "with your cloud provider's command, such as gcloud container clusters get-credentials NAME."
        ) from None
    if _is_local(configuration.host) and configuration.proxy in getproxies().values():  # not the kubeconfig's proxy-url
        _bypass_proxies(configuration)
    return Cluster(configuration, namespace or chosen.get("context", {}).get("namespace") or "default")


def _bypass_proxies(configuration: Any) -> None:
    """Ignore the environment's proxies, for requests and for forwarded ports."""
    configuration.no_proxy = "*"


def _is_local(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _refused(action: str, namespace: str, response: Any) -> ApiRefusedError:
    reason = _message(response)
    match response.status:
        case 401:
            text = "the Kubernetes API rejects your credentials (401); log in again, or renew the kubeconfig."
        case 403 if "is forbidden: User" in reason or "cannot" in reason:
            text = f"you may not {action} in namespace {namespace} ({reason}); ask for a Role that allows it."
        case _:
            text = f"cannot {action} in namespace {namespace} ({response.status}): {reason}"
    return ApiRefusedError(text, int(response.status), reason)


def _message(response: Any) -> str:
    try:
        return str(_Status.model_validate_json(response.data).message) or str(response.reason)
    except ValueError:
        return _short(response.reason or response.data.decode(errors="replace"))


class _Status(objects.ApiModel):
    """Body of the API server's response if it refuses a request."""

    message: str = ""


def _short(error: object) -> str:
    return shortened(str(error), 200) or type(error).__name__


def _singular(kind: type[objects.Object]) -> str:
    return {"Claim": "PersistentVolumeClaim", "Quota": "ResourceQuota"}.get(kind.__name__, kind.__name__)


def _plural(kind: type[objects.Object]) -> str:
    name = _singular(kind)
    return f"{name}es" if name.endswith("s") else f"{name}s"
