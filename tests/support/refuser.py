"""An HTTP server that answers everything with one status, or takes connections and never answers."""

import contextlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Refuser:
    """A running server, and how many requests it has seen."""

    url: str
    requests: int = 0


@contextlib.contextmanager
def running_refuser(status: int | None, host: str = "127.0.0.1") -> Iterator[Refuser]:
    """Answer with `status` and an error as Google words it; `None` is silence."""
    stop = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            refuser.requests += 1
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if status is None:
                stop.wait()
                self.close_connection = True
                return
            body = json.dumps({"error": {"code": status, "message": "because of this"}}).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_PUT = do_DELETE = _answer  # noqa: N815

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer((host, 0), Handler)
    server.daemon_threads = True
    refuser = Refuser(f"http://{host}:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield refuser
    finally:
        stop.set()
        server.shutdown()
        thread.join()
        server.server_close()
