"""What a kubelet answers about a log that was deleted is no line of the log."""

import pytest

from tests.support.api_server import cluster_at
from tests.support.http_server import QuietHandler, server_of, serving

DELETED = "unable to retrieve container logs for containerd://0f6b1c1d8a5e4c3f9b7a"
LOG = "INFO the chief listens on port 8000\nerror: the bucket failed: unable to retrieve container logs for x\n"


@pytest.mark.parametrize(("answer", "log"), [(DELETED, ""), (LOG, LOG)])
def test_a_deleted_log_is_empty(answer: str, log: str) -> None:
    class Handler(QuietHandler):
        def do_GET(self) -> None:  # noqa: N802
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer.encode())

    with serving(server_of(Handler)) as url:
        cluster = cluster_at(url, "kube-demo")
        assert cluster.log("night-chief") == log
        assert list(cluster.follow_log("night-chief")) == log.splitlines()
