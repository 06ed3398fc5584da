"""An HTTP server that answers everything with one status, or takes connections and never answers."""

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass

from tests.support.http_server import QuietHandler, server_of, serving


@dataclass
class Refuser:
    """A running server, and how many requests it has seen."""

    url: str
    requests: int = 0


@contextlib.contextmanager
def running_refuser(status: int | None, host: str = "127.0.0.1") -> Iterator[Refuser]:
    """Answer with `status` and an error as Google words it; `None` is silence."""
    stop = threading.Event()

    class Handler(QuietHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            refuser.requests += 1
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if status is None:
                stop.wait()
                self.close_connection = True
                return
            self.answer_json({"error": {"code": status, "message": "because of this"}}, status)

        def _answer_without_body(self) -> None:
            refuser.requests += 1
            if status is None:
                stop.wait()
                return
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_GET = do_POST = do_PUT = do_DELETE = _answer  # noqa: N815
        do_HEAD = _answer_without_body  # noqa: N815

    server = server_of(Handler, host)
    refuser = Refuser(f"http://{host}:{server.server_port}")
    with serving(server):
        try:
            yield refuser
        finally:
            stop.set()
