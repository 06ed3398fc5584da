"""Why a port cannot be forwarded is a sentence."""

import json
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from k8s.cluster.client import ApiRefusedError, Cluster
from k8s.cluster.port_forward import forwarded
from tests.support.api_server import cluster_at
from tests.support.http_server import QuietHandler, server_of, serving

DIALLING = "error dialing backend: dial tcp 10.132.0.7:10250: connect: no route to host"
FORBIDDEN = 'pods "bucket" is forbidden: User "u" cannot create resource "pods/portforward" in API group ""'
NOT_FOUND = 'pods "bucket" not found'


@contextmanager
def refusing(status: int, body: bytes) -> Iterator[Cluster]:
    class Handler(QuietHandler):
        def do_GET(self) -> None:  # noqa: N802
            self.send_response(status)
            self.send_header("Audit-Id", "3e1f3f6e-0d5c-4b8a-9c57-1f1f6f1c2d3e")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    with serving(server_of(Handler)) as url:
        yield cluster_at(url, "kube-demo")


@pytest.mark.parametrize(
    ("status", "message", "sentence"),
    [
        (500, DIALLING, "(its node does not answer); run kubectl get nodes to see whether the node is lost."),
        (500, "", "(its node does not answer); run kubectl get nodes to see whether the node is lost."),
        (403, FORBIDDEN, "); ask for the right to create pods/portforward."),
        (404, NOT_FOUND, '(404 Not Found: pods "bucket" not found); check that the pod is still running.'),
    ],
)
def test_a_refusal_has_its_reason_and_no_headers(status: int, message: str, sentence: str) -> None:
    document = json.dumps({"kind": "Status", "message": message, "code": status}).encode()
    for body in (document, message.encode()):
        with (
            refusing(status, body) as cluster,
            pytest.raises(ApiRefusedError) as refused,
            forwarded(cluster, "bucket", 4443),
        ):
            pass
        text = str(refused.value)
        assert text.startswith("cannot forward port 4443 of pod bucket in namespace kube-demo (")
        assert text.endswith(sentence)
        assert "udit" not in text
        assert "-+-+-" not in text
