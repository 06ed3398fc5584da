"""TLS files, renewed certificates and the reasons of failed handshakes, over real gRPC on loopback."""

import asyncio
import os
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import grpc
import grpc.aio
import pytest
from cryptography.hazmat.primitives import serialization

from tests.support.certificates import Authority, environment
from tests.support.service import Chief, stub_of, take
from tuner import names
from tuner.errors import CifakeTuneError, ConfigError, EnvironmentFailure
from tuner.rpc import tls, tls_client_errors, tls_server_errors
from tuner.rpc.tls import Files

HOST = "127.0.0.1"


# ---- files --------------------------------------------------------------------------------------
def test_no_variable_is_no_encryption() -> None:
    assert Files.from_environment({}) is None
    assert Files.from_environment({names.ENV_TLS_CERT: "", names.ENV_TLS_KEY: "", names.ENV_TLS_CA: ""}) is None


@pytest.mark.parametrize("missing", [names.ENV_TLS_CERT, names.ENV_TLS_KEY, names.ENV_TLS_CA])
def test_two_of_three_variables_are_an_error_that_names_the_third(tmp_path: Path, missing: str) -> None:
    variables = environment(Authority(tmp_path).issue("chief", HOST)) | {missing: ""}
    with pytest.raises(ConfigError, match=rf" without {missing}\. Set all three"):
        Files.from_environment(variables)


def test_a_file_that_is_not_what_it_must_be_is_named(tmp_path: Path) -> None:
    good = Authority(tmp_path).issue("chief", HOST)
    other = Authority(tmp_path / "other").issue("other", HOST)
    garbage, empty, encrypted = tmp_path / "garbage.pem", tmp_path / "empty.pem", tmp_path / "encrypted.pem"
    garbage.write_bytes(b"\xff\x00garbage")
    empty.write_bytes(b"")
    key = serialization.load_pem_private_key(good.key.read_bytes(), None)
    lock = serialization.BestAvailableEncryption(b"secret")
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    encrypted.write_bytes(key.private_bytes(pem, pkcs8, lock))
    for field in ("certificate", "key", "authority"):
        for wrong in (garbage, empty, tmp_path / "missing.pem", tmp_path):
            with pytest.raises(ConfigError) as refused:
                Files.from_environment(environment(replace(good, **{field: wrong})))  # type: ignore[arg-type]
            assert str(refused.value).startswith(f"{wrong}: ")
    with pytest.raises(ConfigError, match="passphrase"):
        Files.from_environment(environment(replace(good, key=encrypted)))
    with pytest.raises(ConfigError, match="is not the key of the certificate"):
        Files.from_environment(environment(replace(good, key=other.key)))


# ---- connections --------------------------------------------------------------------------------
@contextmanager
def server(files: Files | None) -> Iterator[str]:
    """A server with TLS as the chief's; its only method `/a/b` answers with the caller's port."""
    ready, loop = threading.Event(), asyncio.new_event_loop()
    ports: list[int] = []
    stop = asyncio.Event()

    async def peer(_: bytes, context: grpc.aio.ServicerContext) -> bytes:
        return context.peer().rpartition(":")[2].encode()

    async def serve() -> None:
        one = grpc.aio.server()
        method = {"b": grpc.unary_unary_rpc_method_handler(peer)}
        one.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("a", method),))
        if files is None:
            ports.append(one.add_insecure_port(f"{HOST}:0"))
        else:
            ports.append(one.add_secure_port(f"{HOST}:0", tls.server_credentials(files)))
        await one.start()
        ready.set()
        await stop.wait()
        await one.stop(0)

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    assert ready.wait(10)
    try:
        yield f"{HOST}:{ports[0]}"
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()


def call(channel: grpc.Channel) -> bytes:
    answer: bytes = channel.unary_unary("/a/b")(b"", timeout=10)
    return answer


def reached(address: str, files: Files | None) -> bool:
    with tls.open_channel(address, files, ()) as channel:
        try:
            return bool(call(channel))
        except grpc.RpcError as error:
            if error.code() is not grpc.StatusCode.UNAVAILABLE:
                raise
            return False


Ours = Callable[[Authority, Authority], Files | None]
WRONG: dict[str, tuple[Ours, type[CifakeTuneError], str]] = {
    "plain text": (lambda ours, other: None, ConfigError, r"requires TLS\. Set CIFAKE_TUNE_TLS_CERT"),
    "a foreign certificate": (
        lambda ours, other: other.issue("w", "w", trusting=ours), EnvironmentFailure, "refuses the certificate .*w-cert"
    ),
    "an expired certificate": (
        lambda ours, other: ours.issue("w", "w", expired=True), EnvironmentFailure, "refuses the certificate"
    ),
    "trust in another authority": (
        lambda ours, other: ours.issue("w", "w", trusting=other),
        EnvironmentFailure,
        "is not signed by the authority in",
    ),
    "another name": (
        lambda ours, other: replace(ours.issue("w", "w"), name="chief.elsewhere"), ConfigError,
        "for another name .*CIFAKE_TUNE_TLS_NAME",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_a_caller_without_the_right_certificate_is_refused_and_told_why(tmp_path: Path, case: str) -> None:
    ours, other = Authority(tmp_path / "ours"), Authority(tmp_path / "other")
    make, kind, text = WRONG[case]
    files = make(ours, other)
    with server(ours.issue("chief", HOST, "chief.here")) as address:
        assert not reached(address, files)
        problem = tls_client_errors.connection_problem(address, files)
        assert type(problem) is kind
        assert re.search(text, str(problem))
        assert reached(address, ours.issue("right", "right"))


def test_an_expired_certificate_of_the_chief_is_told(tmp_path: Path) -> None:
    ours = Authority(tmp_path)
    worker = ours.issue("w", "w")
    with server(ours.issue("chief", HOST, expired=True)) as address:
        assert not reached(address, worker)
        assert "not valid today (certificate has expired)" in str(tls_client_errors.connection_problem(address, worker))


def test_a_chief_without_tls_is_told_to_a_caller_with_it(tmp_path: Path) -> None:
    worker = Authority(tmp_path).issue("w", "w")
    with server(None) as address:
        assert not reached(address, worker)
        problem = tls_client_errors.connection_problem(address, worker)
        assert isinstance(problem, ConfigError)
        assert "does not speak TLS" in str(problem)


def test_nothing_is_wrong_with_a_chief_that_suits_or_is_not_there(tmp_path: Path) -> None:
    ours = Authority(tmp_path)
    worker = ours.issue("w", "w")
    with server(ours.issue("chief", HOST)) as address:
        assert tls_client_errors.connection_problem(address, worker) is None
    assert tls_client_errors.connection_problem(address, worker) is None
    with server(None) as plain:
        assert tls_client_errors.connection_problem(plain, None) is None
    assert tls_client_errors.connection_problem(plain, None) is None


def test_the_name_in_the_certificate_may_be_another_than_the_address(tmp_path: Path) -> None:
    ours = Authority(tmp_path)
    worker = replace(ours.issue("w", "w"), name="chief.here")
    with server(ours.issue("chief", "chief.here")) as address:
        assert reached(address, worker)
        assert tls_client_errors.connection_problem(address, worker) is None


# ---- renewal ------------------------------------------------------------------------------------
def test_a_chiefs_renewed_certificate_is_shown_to_the_next_connection(tmp_path: Path) -> None:
    ours = Authority(tmp_path)
    chief, worker = ours.issue("chief", HOST, expired=True), ours.issue("w", "w")
    with server(chief) as address:
        assert not reached(address, worker)
        ours.issue("chief", HOST)
        assert reached(address, worker)


def test_a_new_authority_is_taken_up_by_the_chief_and_by_a_channel_that_is_open(tmp_path: Path) -> None:
    old_authority, new_authority = Authority(tmp_path / "before"), Authority(tmp_path / "after")
    chief, worker = old_authority.issue("chief", HOST), old_authority.issue("w", "w")
    with server(chief) as address, tls.open_channel(address, worker, ()) as channel:
        first = call(channel)
        assert call(channel) == first
        for name, host, files in (("chief", HOST, chief), ("w", "w", worker)):
            new = new_authority.issue(name, host)
            files.certificate.write_bytes(new.certificate.read_bytes())
            files.key.write_bytes(new.key.read_bytes())
        old_authority.certificate.write_bytes(new_authority.certificate.read_bytes())
        assert call(channel) != first


def test_a_renewed_certificate_that_cannot_be_used_leaves_the_one_before(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ours = Authority(tmp_path)
    chief, worker = ours.issue("chief", HOST), ours.issue("w", "w")
    with server(chief) as address, tls.open_channel(address, worker, ()) as channel:
        chief.key.write_text("garbage")
        worker.certificate.unlink()
        for _ in range(3):
            assert call(channel)
        with tls.open_channel(address, ours.issue("another", "w"), ()) as other:
            assert call(other)
    warnings = [
        record.getMessage() for record in caplog.records if "the previous one stays in use" in record.getMessage()
    ]
    assert len(warnings) == 2


# ---- the chief's log ----------------------------------------------------------------------------
def test_the_chiefs_log_says_whom_it_refused_and_the_rest_of_standard_error_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    ours, other = Authority(tmp_path / "ours"), Authority(tmp_path / "other")
    chief = ours.issue("chief", HOST)
    with tls_server_errors.logged_refusals(chief), server(chief) as address:
        reached(address, None)
        reached(address, other.issue("w", "w", trusting=ours))
        reached(address, ours.issue("old", "w", expired=True))
        nameless = grpc.ssl_channel_credentials(ours.certificate.read_bytes())
        with grpc.secure_channel(address, nameless) as channel, pytest.raises(grpc.RpcError):
            call(channel)
        os.write(2, b"something else\n")
    messages = "\n".join(record.getMessage() for record in caplog.records)
    assert "does not speak TLS was refused" in messages
    assert "without a certificate was refused" in messages
    assert "(unable to get local issuer certificate)" in messages
    assert "(certificate has expired)" in messages
    left = capfd.readouterr().err
    assert "something else\n" in left
    assert "Handshake failed" not in left


def test_a_certificate_does_not_tell_workers_apart(tmp_path: Path) -> None:
    """What a worker's code can do with the certificate of its pod: work under any name."""
    files = Authority(tmp_path / "authority").issue("shared", HOST)
    pems = files.read()
    credentials = grpc.ssl_channel_credentials(pems.authority, pems.key, pems.certificate)

    async def main() -> list[str | None]:
        chief = Chief(tmp_path, files=files)
        await chief.start()
        try:
            async with grpc.aio.secure_channel(f"{HOST}:{chief.port}", credentials) as channel:
                trials = [(await take(stub_of(channel), worker)).trial_id for worker in ("worker-0", "worker-1")]
        finally:
            await chief.stop()
        return [chief.state.trials[trial].worker for trial in trials]

    assert asyncio.run(main()) == ["worker-0", "worker-1"]
