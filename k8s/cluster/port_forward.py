"""Port forwarding from this machine to a pod through the API server, in the same way as `kubectl port-forward`."""

import contextlib
import json
import re
import socket
import threading
from collections.abc import Iterator
from typing import Any

from kubernetes import client
from kubernetes.stream import ws_client

from k8s.cluster.client import ApiRefusedError, Cluster
from k8s.cluster.text import shortened

_CHUNK_BYTES = 1 << 16
_SEPARATOR = "-+-+-"
_NO_NODE = re.compile(r"error dialing backend|proxy error|^50[0234] [A-Za-z ]+(:.*(dial tcp|timeout|timed out).*)?$")
"""Refusals of an API server that cannot reach the kubelet of the pod's node."""


@contextlib.contextmanager
def forwarded(cluster: Cluster, pod: str, port: int) -> Iterator[int]:
    """Yield a port of 127.0.0.1 whose connections are forwarded to a port of the pod.

    Raises ApiRefusedError if forwarding is not allowed or the pod is not running. NetworkPolicies do not apply, because
    the connection comes from the pod's own node.
    """
    first = _open(cluster, pod, port)  # so that an error is raised here rather than in the thread of a connection
    listener = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=_accept, args=(listener, cluster, pod, port, first), daemon=True, name="forward").start()
    try:
        yield int(listener.getsockname()[1])
    finally:
        listener.close()
        first.close()


def _open(cluster: Cluster, pod: str, port: int) -> Any:
    url, ports = f"{cluster.host}{cluster.path_of_pod(pod, 'portforward')}", [("ports", str(port))]
    try:
        return ws_client.portforward_call(
            cluster.configuration, "GET", url, query_params=ports, headers=cluster.credentials()
        ).socket(port)
    except client.ApiException as error:
        reason = _reason(str(error.reason))
        is_forbidden = "403" in reason or "cannot create resource" in reason
        fix = "ask for the right to create pods/portforward" if is_forbidden else "check that the pod is still running"
        if _NO_NODE.search(reason):
            reason, fix = "its node does not answer", "run kubectl get nodes to see whether the node is lost"
        raise ApiRefusedError(
            f"cannot forward port {port} of pod {pod} in namespace {cluster.namespace} ({reason}); {fix}.",
            403 if is_forbidden else 0,
            reason,
        ) from None


def _reason(refusal: str) -> str:
    """Return why the API server refused, from `Handshake status STATUS -+-+- HEADERS -+-+- BODY`."""
    status, _, rest = refusal.partition(_SEPARATOR)
    body = rest.rpartition(_SEPARATOR)[2].strip()
    try:
        message = str(json.loads(body)["message"])
    except (ValueError, KeyError, TypeError):
        message = "" if body == "None" else body
    status = status.removeprefix("Handshake status ").strip()
    return shortened(f"{status}: {message}" if message else status, 300)


def _accept(listener: socket.socket, cluster: Cluster, pod: str, port: int, first: Any) -> None:
    remote = first
    while True:
        try:
            local, _ = listener.accept()
        except OSError:
            return  # the listener was closed
        threading.Thread(target=_connect, args=(local, remote, cluster, pod, port), daemon=True, name="forward").start()
        remote = None


def _connect(local: socket.socket, opened: Any, cluster: Cluster, pod: str, port: int) -> None:
    try:
        remote = opened or _open(cluster, pod, port)
    except ApiRefusedError:
        local.close()  # the pod is gone; the client sees a closed connection and retries
        return
    threading.Thread(target=_pump, args=(remote, local), daemon=True, name="forward").start()
    _pump(local, remote)


def _pump(source: Any, target: Any) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(_CHUNK_BYTES):
            target.sendall(data)
    for end in (source, target):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
