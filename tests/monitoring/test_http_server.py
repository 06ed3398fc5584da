"""The HTTP server, with real sockets: which requests are answered or refused, and which clients are dropped."""

import select
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from http import HTTPStatus

import pytest

from tests.support.scrape import Answer, get, until
from tuner.address import Address, parse_address, reserved
from tuner.errors import ConfigError, EnvironmentFailure
from tuner.monitoring import http_server
from tuner.monitoring.http_server import HttpServer, Request, Response, plain


def broken(_: Request) -> Response:
    raise RuntimeError("a secret of the traceback")


@pytest.fixture
def server() -> Iterator[HttpServer]:
    routes = {"/hello": lambda request: plain(f"hello {request.query.get('name', 'you')}"), "/broken": broken}
    with HttpServer(Address("127.0.0.1", 0), routes) as running:
        yield running


def at(server: HttpServer) -> str:
    return f"{server.address.host}:{server.address.port}"


def exchange(server: HttpServer, text: bytes) -> bytes:
    """Send bytes and return all that is answered."""
    with socket.create_connection((server.address.host, server.address.port), timeout=20) as connection:
        connection.sendall(text)
        answer = b""
        while part := connection.recv(65536):
            answer += part
    return answer


def test_a_path_is_answered_by_its_function(server: HttpServer) -> None:
    assert get(at(server), "/hello?name=x&name=night") == Answer(HTTPStatus.OK, "hello night\n")
    assert get(at(server), "/else").status == HTTPStatus.NOT_FOUND


def test_what_is_no_address_is_answered_so(server: HttpServer) -> None:
    assert exchange(server, b"GET http://[ HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.0 400 ")


def test_an_error_of_ours_is_told_to_the_log_alone(server: HttpServer, caplog: pytest.LogCaptureFixture) -> None:
    answer = get(at(server), "/broken")
    assert answer.status == HTTPStatus.INTERNAL_SERVER_ERROR
    assert "secret" not in answer.text
    assert "a secret of the traceback" in caplog.text


def test_only_reading_is_possible(server: HttpServer) -> None:
    for method in (b"POST", b"PUT", b"DELETE", b"OPTIONS"):
        assert exchange(server, method + b" /hello HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.0 501 ")
    head = exchange(server, b"HEAD /hello HTTP/1.0\r\n\r\n")
    assert b"Content-Length: 10\r\n" in head
    assert head.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET /" + b"x" * 70_000 + b" HTTP/1.0\r\n\r\n", b"414"),
        (b"GET /hello HTTP/1.0\r\nX: " + b"x" * 70_000 + b"\r\n\r\n", b"431"),
        (b"GET /hello HTTP/1.0\r\n" + b"X: y\r\n" * 101 + b"\r\n", b"431"),
    ],
)
def test_a_request_that_is_too_large_is_refused(server: HttpServer, request_: bytes, status: bytes) -> None:
    assert exchange(server, request_).startswith(b"HTTP/1.0 " + status)
    assert get(at(server), "/hello").status == HTTPStatus.OK


def test_nothing_is_kept_or_guessed_by_browsers(server: HttpServer) -> None:
    head = exchange(server, b"GET /hello HTTP/1.0\r\n\r\n")
    assert b"Cache-Control: no-store\r\n" in head
    assert b"X-Content-Type-Options: nosniff\r\n" in head
    assert b"Python" not in head


def test_who_says_nothing_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_server._RequestHandler, "timeout", 0.2)
    with HttpServer(Address("127.0.0.1", 0), {}) as server:
        assert exchange(server, b"GET /hel") == b""


def test_who_holds_all_connections_and_says_nothing_keeps_nobody_from_asking(server: HttpServer) -> None:
    """The kubelet must get through: it restarts a process that does not answer its health check."""
    with ExitStack() as open_:
        address = server.address.host, server.address.port
        silent = [open_.enter_context(socket.create_connection(address)) for _ in range(http_server.REQUESTS + 8)]
        until("eight to be closed", lambda: len(select.select(silent, [], [], 0)[0]) >= 8)
        closed, _, _ = select.select(silent, [], [], 0)
        assert closed == silent[:8]
        for _ in range(5):
            assert get(at(server), "/hello").status == HTTPStatus.OK


def test_an_address_that_cannot_be_listened_on_is_a_sentence(server: HttpServer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(EnvironmentFailure, match="Choose a free port"):
        HttpServer(Address("127.0.0.1", taken.getsockname()[1]), {})


def test_a_port_that_another_run_holds_is_a_sentence_and_one_whose_connections_fade_away_is_not() -> None:
    with reserved(Address("127.0.0.1", 0)) as first:
        with pytest.raises(EnvironmentFailure, match="Choose a free port"), reserved(first):
            pass
        with (
            HttpServer(first, {"/hello": lambda _: plain("hello")}) as server,
            socket.create_connection(("127.0.0.1", first.port)) as connection,
        ):
            connection.sendall(b"GET /hello HTTP/1.0\r\n\r\n")
            assert b"hello" in b"".join(iter(lambda: connection.recv(4096), b""))
            assert server.address == first
    with reserved(first) as second:
        assert second == first


@pytest.mark.parametrize("text", ["9090", ":9090", "127.0.0.1", "127.0.0.1:x", "127.0.0.1:70000"])
def test_an_address_that_is_none_is_a_sentence(text: str) -> None:
    with pytest.raises(ConfigError, match=r"CIFAKE_TUNE_HTTP must be HOST:PORT, such as 127\.0\.0\.1:9090, got"):
        parse_address(text, "CIFAKE_TUNE_HTTP")


def test_an_address_may_be_of_the_sixth_version() -> None:
    address = parse_address("[::]:9090", "CIFAKE_TUNE_HTTP")
    assert address == Address("::", 9090)
    assert str(address) == "[::]:9090"
