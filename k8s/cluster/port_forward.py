"""A port of this machine that leads to a port of a pod, through the API server, as `kubectl port-forward` does it."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from typing import Any

from kubernetes import client
from kubernetes.stream import ws_client

from k8s.cluster.client import ApiRefusedError, Cluster

_PIECE_BYTES = 1 << 16


@contextlib.contextmanager
def forwarded(cluster: Cluster, pod: str, port: int) -> Iterator[int]:
    """Yield a port of 127.0.0.1; each connection to it is one to the pod.

    Raises ApiRefusedError where that is not allowed, or the pod does not run. NetworkPolicies do not stop it: the
    connection comes from the pod's own node.
    """
    first = _open(cluster, pod, port)  # what is wrong is to be said here, not to whoever connects
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
        said = " ".join(str(error.reason).split())[:300]
        forbidden = "403" in said or "cannot create resource" in said
        fix = "ask for the right to create pods/portforward" if forbidden else "is the pod still running?"
        raise ApiRefusedError(
            f"no port can be forwarded to pod {pod} in namespace {cluster.namespace}: {fix} ({said}).",
            403 if forbidden else 0,
            said,
        ) from None


def _accept(listener: socket.socket, cluster: Cluster, pod: str, port: int, first: Any) -> None:
    ready = first
    while True:
        try:
            here, _ = listener.accept()
        except OSError:
            return  # closed
        threading.Thread(target=_connect, args=(here, ready, cluster, pod, port), daemon=True, name="forward").start()
        ready = None


def _connect(here: socket.socket, ready: Any, cluster: Cluster, pod: str, port: int) -> None:
    try:
        there = ready or _open(cluster, pod, port)
    except ApiRefusedError:
        here.close()  # the pod is gone; who connected sees a closed connection, and tries again
        return
    threading.Thread(target=_pump, args=(there, here), daemon=True, name="forward").start()
    _pump(here, there)


def _pump(source: Any, target: Any) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(_PIECE_BYTES):
            target.sendall(data)
    for end in (source, target):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
