"""A small read-only HTTP server that runs in its own threads, with one handler per path."""

import logging
import socket
import ssl
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from tuner.address import Address
from tuner.monitoring.server_certificate import ServerCertificate

log = logging.getLogger(__name__)

REQUESTS = 32
"""Maximum number of concurrent connections. A scraper has one, and so has each open page. A new connection beyond the
maximum closes the oldest one, so that idle connections cannot block the kubelet, which restarts a process that does not
answer."""
IDLE_S = 10.0
"""Seconds after which a connection that sends nothing is closed."""
HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


@dataclass(frozen=True)
class Request:
    """A GET or HEAD request."""

    path: str
    query: Mapping[str, str]
    """Parameters of the query; the last value if a key is repeated."""
    accept: str
    """The Accept header."""
    host: str = ""
    """The Host header."""
    if_none_match: str = ""
    """The If-None-Match header, which names the version that the client has."""
    authorization: str = field(default="", repr=False)
    """The Authorization header."""
    cookie: str = field(default="", repr=False)
    """The Cookie header."""


@dataclass(frozen=True)
class Response:
    """The answer to a request."""

    body: bytes
    content_type: str
    status: HTTPStatus = HTTPStatus.OK
    headers: Mapping[str, str] = field(default_factory=dict)


Handler = Callable[[Request], Response]


def plain(text: str, status: HTTPStatus = HTTPStatus.OK) -> Response:
    """Return a plain-text response."""
    return Response(f"{text}\n".encode(), "text/plain; charset=utf-8", status)


class HttpServer:
    """Serves `routes`, by path, until the end of the block. Routes may be added while the server runs.

    A path without a route has the handler of `prefixes` for all of the path but its last part, if there is one. With a
    certificate, the server speaks only https.

    Raises EnvironmentFailure if the server cannot listen on the address.
    """

    def __init__(
        self,
        address: Address,
        routes: Mapping[str, Handler],
        prefixes: Mapping[str, Handler] | None = None,
        certificate: ServerCertificate | None = None,
    ) -> None:
        bound = {"routes": routes, "prefixes": prefixes if prefixes is not None else {}}
        handler = type("_BoundHandler", (_RequestHandler,), bound)
        try:
            self._server = _Server(address, handler, certificate)
        except OSError as error:
            raise address.refused(error) from None
        # the server checks every 0.05 s whether it must end, because every process that ends waits for this check
        self._thread = threading.Thread(target=self._server.serve_forever, args=[0.05], name="http", daemon=True)

    @property
    def address(self) -> Address:
        """The address on which the server listens."""
        host, port = self._server.server_address[:2]
        return Address(str(host), int(port))

    def __enter__(self) -> "HttpServer":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_port = True  # `run` reserves the port for a chief that is restarted
    request_queue_size = REQUESTS

    def __init__(
        self, address: Address, handler: type[BaseHTTPRequestHandler], certificate: ServerCertificate | None
    ) -> None:
        self._certificate = certificate
        self._open: list[Any] = []  # oldest first
        self._lock = threading.Lock()
        self.address_family = address.family
        super().__init__((address.host, address.port), handler)

    def get_request(self) -> tuple[Any, Any]:
        """Accept a connection. TLS begins later, in the connection's own thread, because clients may be slow."""
        request, client_address = super().get_request()
        if self._certificate is not None:
            context = self._certificate.context()
            request = context.wrap_socket(request, server_side=True, do_handshake_on_connect=False)
        return request, client_address

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Agree on encryption, if there is any, and answer."""
        if isinstance(request, ssl.SSLSocket):
            request.settimeout(IDLE_S)
            request.do_handshake()
        super().finish_request(request, client_address)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer in a new thread, and close the oldest connection if there are too many."""
        with self._lock:
            self._open.append(request)
            too_many, self._open = self._open[:-REQUESTS], self._open[-REQUESTS:]
        for oldest in too_many:
            with suppress(OSError):  # its own thread may have closed it already
                socket.socket.shutdown(oldest, socket.SHUT_RDWR)  # SSLSocket's would let its thread write plain text
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer, and remove the connection."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            with self._lock, suppress(ValueError):  # it was closed as the oldest
                self._open.remove(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log at debug level only, because the client has disconnected, or does not speak TLS as expected."""
        log.debug("an HTTP client disconnected", exc_info=True)


class _RequestHandler(BaseHTTPRequestHandler):
    routes: Mapping[str, Handler]
    prefixes: Mapping[str, Handler]
    timeout = IDLE_S
    server_version = "cifake-tune"
    sys_version = ""

    def do_GET(self) -> None:
        """Answer a GET request."""
        self._answer(self._response())

    def do_HEAD(self) -> None:
        """Answer a HEAD request, without the body."""
        self._answer(self._response(), with_body=False)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Log nothing, because requests arrive every few seconds."""

    def _response(self) -> Response:
        try:
            url = urlsplit(self.path)
        except ValueError:
            return plain("the address is not valid", HTTPStatus.BAD_REQUEST)
        prefix = url.path[: url.path.rfind("/") + 1]
        handler = self.routes.get(url.path) or self.prefixes.get(prefix)
        if handler is None:
            return plain("there is no such page", HTTPStatus.NOT_FOUND)
        try:
            return handler(self._request(url.path, url.query))
        except Exception:
            log.exception("the request for %s cannot be answered", url.path)
            return plain("internal error. Read the log of the process.", HTTPStatus.INTERNAL_SERVER_ERROR)

    def _request(self, path: str, query: str) -> Request:
        header = self.headers.get
        return Request(
            path,
            dict(parse_qsl(query)),
            header("Accept", ""),
            header("Host", ""),
            header("If-None-Match", ""),
            header("Authorization", ""),
            header("Cookie", ""),
        )

    def _answer(self, response: Response, with_body: bool = True) -> None:
        self.send_response(response.status)
        length = {"Content-Type": response.content_type, "Content-Length": str(len(response.body))}
        for name, value in {**length, **HEADERS, **response.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if with_body:
            self.wfile.write(response.body)
