"""A webhook: a real HTTP server that keeps what is posted to it, and answers as a test wants."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.support.http_server import QuietHandler, server_of, serving


@dataclass
class Webhook:
    """What was posted, and the statuses of the next answers; after them, every answer is 200."""

    url: str = ""
    statuses: list[int] = field(default_factory=list)
    posts: list[tuple[str, Any]] = field(default_factory=list)
    """Path and JSON document of each request."""
    gate: threading.Event = field(default_factory=threading.Event)
    """Answers wait for it."""

    @property
    def messages(self) -> list[Any]:
        """The JSON documents."""
        return [message for _, message in self.posts]


@contextmanager
def running_webhook(*statuses: int, is_open: bool = True) -> Iterator[Webhook]:
    """Serve a webhook until the end of the block. Its URL contains a secret."""
    hook = Webhook(statuses=list(statuses))
    if is_open:
        hook.gate.set()

    class Handler(QuietHandler):
        def do_POST(self) -> None:  # noqa: N802
            hook.posts.append((self.path, json.loads(self.rfile.read(int(self.headers["Content-Length"])))))
            hook.gate.wait(30)
            status = hook.statuses.pop(0) if hook.statuses else 200
            self.send_response(status)
            self.send_header("Content-Length", "0")
            if 300 <= status < 400:
                self.send_header("Location", "/elsewhere")
            self.end_headers()

    server = server_of(Handler)
    server.daemon_threads = True
    with serving(server) as url:
        hook.url = f"{url}/hooks/very-secret"
        try:
            yield hook
        finally:
            hook.gate.set()
