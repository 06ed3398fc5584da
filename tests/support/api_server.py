"""A Kubernetes API server that answers with given objects: enough for what `status` and `doctor` read."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from kubernetes import client

from k8s.cluster.client import Cluster
from tests.support.http_server import QuietHandler, server_of, serving


@dataclass
class ApiServer:
    """The objects by the last parts of their paths: `pods` for a list, `nodes/node-1` for one object."""

    objects: Mapping[str, Any]
    forbidden: tuple[str, ...] = ()
    """Resources that the caller may not read."""
    url: str = ""
    requests: list[str] = field(default_factory=list)
    patches: list[tuple[str, Any]] = field(default_factory=list)
    """Name of the object and content of each patch of a listed object, which is merged into it."""
    conflicts: int = 0
    """Number of next patches that name a version and find that the object has changed."""

    def kubeconfig(self, folder: Path, namespace: str) -> Path:
        """Write a kubeconfig for this server, and return its path."""
        cluster = {"name": "c", "cluster": {"server": self.url}}
        context = {"name": "c", "context": {"cluster": "c", "user": "u", "namespace": namespace}}
        parts = {"clusters": [cluster], "contexts": [context], "users": [{"name": "u", "user": {}}]}
        path = folder / "kubeconfig"
        path.write_text(json.dumps({"kind": "Config", "current-context": "c", **parts}), encoding="utf-8")
        return path

    def answer(self, path: str) -> tuple[int, Any]:
        """Return the status and the body of the answer to a GET."""
        self.requests.append(path)
        if path == "/version":
            return 200, {}
        parts = path.strip("/").split("/")
        if "namespaces" in parts[:4] and parts[-2] != "namespaces":
            parts = parts[parts.index("namespaces") + 2 :]
        else:
            parts = parts[2:] if parts[0] == "api" else parts[3:]
        resource = parts[0] if parts else ""
        if resource in self.forbidden:
            reason = (
                f'{resource} is forbidden: User "u" cannot get resource "{resource}" in API group "" at the cluster'
            )
            return 403, {"kind": "Status", "message": reason, "code": 403}
        found = self.objects.get("/".join(parts))
        if found is None and len(parts) == 2:
            found = next(
                (item for item in self.objects.get(resource, ()) if item["metadata"]["name"] == parts[1]), None
            )
        if found is None:
            return 404, {"kind": "Status", "message": f"{'/'.join(parts)} not found", "code": 404}
        return 200, {"items": found} if isinstance(found, list) else found

    def patch(self, path: str, body: Any) -> tuple[int, Any]:
        """Merge a JSON merge patch into a listed object, and return the status and the body of the answer."""
        *_, resource, name = path.strip("/").split("/")
        if resource in self.forbidden:
            reason = f'{resource} is forbidden: User "u" cannot patch resource "{resource}" in API group "batch"'
            return 403, {"kind": "Status", "message": reason, "code": 403}
        found = next(item for item in self.objects[resource] if item["metadata"]["name"] == name)
        if self.conflicts and "resourceVersion" in body["metadata"]:
            self.conflicts -= 1
            return 409, {"kind": "Status", "message": "the object has been modified", "code": 409}
        self.patches.append((name, body))
        _merge(found, body)
        return 200, found


def _merge(target: dict[str, Any], patch: Mapping[str, Any]) -> None:
    """Apply a JSON merge patch (RFC 7386)."""
    for key, value in patch.items():
        if value is None:
            target.pop(key, None)
        elif isinstance(value, dict):
            _merge(target.setdefault(key, {}), value)
        else:
            target[key] = value


@contextmanager
def running_api_server(objects: Mapping[str, Any], forbidden: tuple[str, ...] = ()) -> Iterator[ApiServer]:
    """Serve these objects on a free port."""
    api = ApiServer(objects, forbidden)

    class Handler(QuietHandler):
        def do_GET(self) -> None:  # noqa: N802
            status, answer = api.answer(urlsplit(self.path).path)
            self.answer_json(answer, status)

        def do_PATCH(self) -> None:  # noqa: N802
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status, answer = api.patch(urlsplit(self.path).path, body)
            self.answer_json(answer, status)

    with serving(server_of(Handler)) as api.url:
        yield api


def cluster_at(url: str, namespace: str) -> Cluster:
    """Return a namespace of the cluster whose API server has this URL."""
    configuration = client.Configuration()
    configuration.host = url
    return Cluster(configuration, namespace)
