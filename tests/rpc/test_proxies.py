"""The chief is never called through a proxy, whichever variable names one."""

from collections.abc import Iterator
from concurrent import futures
from pathlib import Path

import grpc
import pytest

from tests.support.certificates import Authority
from tests.support.proxies import DEAD, VARIABLES, through
from tuner.rpc import lease_service, tls

METHOD = "/Some/Method"
TIMEOUT_S = 20.0


@pytest.fixture
def handlers() -> grpc.GenericRpcHandler:
    answer = grpc.unary_unary_rpc_method_handler(lambda request, context: b"ok")
    return grpc.method_handlers_generic_handler("Some", {"Method": answer})


@pytest.fixture
def port(handlers: grpc.GenericRpcHandler) -> Iterator[int]:
    server = grpc.server(futures.ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers((handlers,))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield port
    server.stop(None)


@pytest.mark.parametrize("variable", VARIABLES)
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_no_variable_makes_a_worker_use_a_proxy(
    monkeypatch: pytest.MonkeyPatch, port: int, variable: str, host: str
) -> None:
    for name, value in through("").items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv(variable, DEAD)
    with tls.open_channel(f"{host}:{port}", None, lease_service.OPTIONS) as channel:
        assert channel.unary_unary(METHOD)(b"", timeout=TIMEOUT_S) == b"ok"


def test_grpc_itself_calls_even_loopback_through_a_proxy(monkeypatch: pytest.MonkeyPatch, port: int) -> None:
    """Otherwise the tests of this file would show nothing."""
    for name, value in through(DEAD).items():
        monkeypatch.setenv(name, value)
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel, pytest.raises(grpc.RpcError) as error:
        channel.unary_unary(METHOD)(b"", timeout=TIMEOUT_S)
    assert error.value.code() is grpc.StatusCode.UNAVAILABLE


def test_an_encrypted_connection_uses_no_proxy(
    monkeypatch: pytest.MonkeyPatch, handlers: grpc.GenericRpcHandler, tmp_path: Path
) -> None:
    for name, value in through(DEAD).items():
        monkeypatch.setenv(name, value)
    authority = Authority(tmp_path)
    server = grpc.server(futures.ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers((handlers,))
    credentials = tls.server_credentials(authority.issue("chief", "localhost"))
    port = server.add_secure_port("localhost:0", credentials)
    server.start()
    with tls.open_channel(f"localhost:{port}", authority.issue("worker", "w"), lease_service.OPTIONS) as channel:
        assert channel.unary_unary(METHOD)(b"", timeout=TIMEOUT_S) == b"ok"
    server.stop(None)
