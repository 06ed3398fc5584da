"""A worker and a chief of another version: the worker ends with a sentence that names both, and exit code 2."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest

import tuner
from tests.rpc.test_formats import ANSWERS, edited
from tests.support.chief import RunningChief
from tuner import names
from tuner.config import formats
from tuner.errors import ExitCode, UsageError
from tuner.rpc import lease_service
from tuner.rpc.lease_service import METHODS
from tuner.worker import join_problem
from tuner.worker.chief_client import ChiefClient


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker tries again for 30 s, because an upgrade may be replacing the chief."""
    monkeypatch.setattr(join_problem, "MISCONFIGURED_S", 0.2)


class OtherChief:
    """Answers each method with the bytes that a test has set."""

    def __init__(self) -> None:
        self.answers = {name: edited(ANSWERS[name]) for name in METHODS}
        self._server = grpc.server(ThreadPoolExecutor(2))
        methods = {name: grpc.unary_unary_rpc_method_handler(self._answer(name)) for name in METHODS}
        self._server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(names.LEASE_SERVICE, methods)])
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    def _answer(self, name: str) -> Callable[[bytes, Any], bytes]:
        return lambda request, context: self.answer(name)

    def answer(self, name: str) -> bytes:
        """Return the answer of a method."""
        return self.answers[name]

    def close(self) -> None:
        """Stop serving."""
        self._server.stop(0)


@pytest.fixture
def other() -> Iterator[OtherChief]:
    chief = OtherChief()
    yield chief
    chief.close()


@pytest.fixture
def worker(other: OtherChief) -> Iterator[ChiefClient]:
    with grpc.insecure_channel(other.address) as channel:
        yield ChiefClient(channel, other.address, "w0", "1", lambda: None)


def test_a_worker_understands_a_chief_of_a_newer_minor_version(other: OtherChief, worker: ChiefClient) -> None:
    answer = json.loads(edited(ANSWERS["Join"], format="1.9", unheard=1))
    answer["study"]["search"]["unheard"] = {"of": 1}
    other.answers["Join"] = json.dumps(answer).encode()
    joined = worker.join()
    assert joined.model_copy(update={"format": "1.4"}) == ANSWERS["Join"]
    other.answers["Heartbeat"] = edited(ANSWERS["Heartbeat"], format="1.9", unheard=1)
    assert worker.heartbeat(lease_service.Heartbeat(worker="w0", incarnation="1")) is not None
    worker.check()


def test_a_worker_that_joins_a_chief_of_a_newer_major_version_names_both(
    other: OtherChief, worker: ChiefClient
) -> None:
    other.answers["Join"] = edited(ANSWERS["Join"], format="3.0")
    with pytest.raises(UsageError, match=f"chief at {other.address} has format 3.0, and this program reads 2.0") as end:
        worker.join()
    assert end.value.exit_code is ExitCode.USAGE


def test_a_worker_whose_chief_is_replaced_by_one_of_a_newer_major_version_ends(
    other: OtherChief, worker: ChiefClient
) -> None:
    worker.join()
    other.answers["Heartbeat"] = edited(ANSWERS["Heartbeat"], format="3.0")
    assert worker.heartbeat(lease_service.Heartbeat(worker="w0", incarnation="1")) is None
    with pytest.raises(UsageError, match=r"format 3\.0, and this program reads 2\.0"):
        worker.check()


def test_settings_that_a_worker_does_not_know_the_value_of_are_a_sentence(
    other: OtherChief, worker: ChiefClient
) -> None:
    answer = json.loads(edited(ANSWERS["Join"], format="1.9"))
    answer["study"]["search"]["algorithm"] = "unheard"
    other.answers["Join"] = json.dumps(answer).encode()
    with pytest.raises(UsageError, match=r"cannot be understood.*Use the same version of cifake-tune"):
        worker.join()


@pytest.fixture
def newer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests of a worker whose major version is newer."""
    encode = lease_service._encode

    def written(message: lease_service.Message) -> bytes:
        return encode(message).replace(b'"format":"1.4"', b'"format":"3.0"', 1)

    monkeypatch.setattr(lease_service.LeaseStub, "__init__", stub_with(written))


def stub_with(serializer: Callable[[Any], bytes]) -> Callable[[Any, grpc.Channel], None]:
    def init(stub: Any, channel: grpc.Channel) -> None:
        stub._calls = {
            name: channel.unary_unary(f"/{names.LEASE_SERVICE}/{name}", request_serializer=serializer)
            for name in METHODS
        }

    return init


@pytest.mark.usefixtures("newer")
def test_a_worker_that_a_chief_of_an_older_major_version_refuses_names_both(chief: RunningChief) -> None:
    with grpc.insecure_channel(chief.address) as channel:
        worker = ChiefClient(channel, chief.address, "w0", "1", lambda: None)
        sentence = f"chief at {chief.address} refuses this worker: .* format 3.0, and this program reads 2.0"
        with pytest.raises(UsageError, match=sentence) as end:
            worker.join()
        assert end.value.exit_code is ExitCode.USAGE
        assert worker.heartbeat(lease_service.Heartbeat(worker="w0", incarnation="1")) is None
        with pytest.raises(UsageError, match=sentence):
            worker.check()


def test_the_version_is_written_as_two_numbers() -> None:
    assert formats.parse_format(formats.FORMAT) == formats.FormatVersion(2, 0)


# ---- versions of the program ------------------------------------------------------------------------
def with_version(message: lease_service.Message, version: str | None) -> bytes:
    """Return a message as a program of another version writes it; None for one that writes no version."""
    document = json.loads(edited(message))
    del document["version"]
    return json.dumps(document if version is None else document | {"version": version}).encode()


@pytest.mark.parametrize(("own", "others"), [("0.2.0", [None, "0.1.0", "0.2.7", "0.3.0.dev1"]), ("1.4.0", ["1.3.9"])])
def test_a_worker_works_for_a_chief_that_is_one_minor_version_older_or_newer(
    other: OtherChief, worker: ChiefClient, monkeypatch: pytest.MonkeyPatch, own: str, others: list[str | None]
) -> None:
    monkeypatch.setattr(tuner, "__version__", own)
    for version in others:
        other.answers["Join"] = with_version(ANSWERS["Join"], version)
        other.answers["Heartbeat"] = with_version(ANSWERS["Heartbeat"], version)
        assert worker.join().study.name == "cifake"
        assert worker.heartbeat(lease_service.Heartbeat(worker="w0", incarnation="1")) is not None
        worker.check()


@pytest.mark.parametrize(
    ("own", "version"), [("0.3.0", None), ("0.2.0", "0.4.0"), ("0.4.1", "0.2.0"), ("1.0.0", "0.9.0")]
)
def test_a_worker_refuses_a_chief_of_another_version_in_a_sentence(
    other: OtherChief, worker: ChiefClient, monkeypatch: pytest.MonkeyPatch, own: str, version: str | None
) -> None:
    monkeypatch.setattr(tuner, "__version__", own)
    sentence = f"the chief has version {version or '0.1.0'} of cifake-tune and the worker has version {own}, and they"
    other.answers["Join"] = with_version(ANSWERS["Join"], version)
    with pytest.raises(UsageError, match=f"does not work for the chief at {other.address}: {sentence}") as end:
        worker.join()
    assert end.value.exit_code is ExitCode.USAGE
    other.answers["Heartbeat"] = with_version(ANSWERS["Heartbeat"], version)
    assert worker.heartbeat(lease_service.Heartbeat(worker="w0", incarnation="1")) is None
    with pytest.raises(UsageError, match=sentence):
        worker.check()


def test_a_worker_that_finds_the_earlier_chief_waits_for_the_one_that_replaces_it(
    other: OtherChief, worker: ChiefClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tuner, "__version__", "0.4.0")
    monkeypatch.setattr(join_problem, "MISCONFIGURED_S", 60.0)
    calls = []

    def answer(name: str) -> bytes:
        calls.append(name)
        return with_version(ANSWERS["Join"], "0.2.0" if len(calls) < 3 else "0.4.0")

    monkeypatch.setattr(other, "answer", answer)
    assert worker.join().version == "0.4.0"
    assert len(calls) == 3


def test_a_chief_refuses_a_worker_of_another_version_in_a_sentence(
    chief: RunningChief, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tuner, "__version__", "0.3.0")
    join = lease_service.Join(worker="w0", incarnation="1")
    with grpc.insecure_channel(chief.address) as channel:
        call = channel.unary_unary(f"/{names.LEASE_SERVICE}/Join")
        for version in ("0.2.0", "0.3.9", "0.4.0"):
            call(with_version(join, version))
        for other in (None, "0.1.0", "0.5.0", "1.3.0"):
            with pytest.raises(grpc.RpcError) as refused:
                call(with_version(join, other))
            assert lease_service.is_version_refusal(refused.value)  # as a worker of 0.1.0 recognizes it, too
            assert f"and the worker has version {other or '0.1.0'}, and they may" in str(refused.value.details())
        for wrong in ("", "new", "1", "0.3.0 "):
            with pytest.raises(grpc.RpcError, match="the Join request is not valid"):
                call(with_version(join, wrong))
