"""A worker that cannot reach its chief says so in its log: the address, the cause, and for how long."""

import logging
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from tests.support.chief import RunningChief
from tests.support.gcs_emulator import free_port
from tuner.errors import ChiefUnreachableError
from tuner.rpc import lease_service, tls
from tuner.worker import chief_client as client_module
from tuner.worker import chief_outage
from tuner.worker.chief_client import ChiefClient
from tuner.worker.chief_outage import ChiefOutage, outages_in


def test_the_first_line_comes_within_10_s_and_the_others_every_30_s() -> None:
    assert chief_outage.FIRST_S < 10
    assert chief_outage.REPEAT_S == 30


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    monkeypatch.setattr(chief_outage, "FIRST_S", 0.3)
    monkeypatch.setattr(chief_outage, "REPEAT_S", 0.2)
    caplog.set_level(logging.INFO, chief_outage.__name__)
    return caplog


@pytest.fixture
def silent_address() -> Iterator[str]:
    """Address of a process that accepts no connection."""
    with closing(socket.create_server(("127.0.0.1", 0), backlog=1)) as listener:
        yield f"127.0.0.1:{listener.getsockname()[1]}"


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def join_in_vain(address: str) -> None:
    with tls.open_channel(address, None, lease_service.OPTIONS) as channel:
        client = ChiefClient(channel, address, "w0", "i", lambda: None)
        client.timeout_s = 1.5
        with pytest.raises(ChiefUnreachableError):
            client.join()


def test_an_absent_chief_is_logged_again_and_again_with_its_address_and_the_cause(
    impatient: pytest.LogCaptureFixture,
) -> None:
    address = f"127.0.0.1:{free_port()}"
    join_in_vain(address)
    found = outages_in(impatient.text)
    assert len(found) > 2
    assert all(f"the chief at {address} has been unreachable for" in line for line in found)
    assert all("(Connection refused)" in line for line in found)


def test_a_chief_that_does_not_answer_is_logged(
    impatient: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, silent_address: str
) -> None:
    monkeypatch.setattr(client_module, "CALL_TIMEOUT_S", 0.5)
    join_in_vain(silent_address)
    assert any("(a call was not answered in time)" in line for line in outages_in(impatient.text))


def test_an_outage_is_logged_while_the_first_call_waits_for_an_answer(impatient: pytest.LogCaptureFixture) -> None:
    outage = ChiefOutage("chief:8000")
    outage.begin()
    until(lambda: "the chief at chief:8000 has been unreachable for 0 s (it has not answered yet)" in impatient.text)
    outage.close()


def test_nothing_is_logged_once_the_chief_answers(
    impatient: pytest.LogCaptureFixture, chief: RunningChief, client: ChiefClient
) -> None:
    chief.stop()
    beat = lease_service.Heartbeat(worker=client.worker, incarnation=client.incarnation)
    assert client.heartbeat(beat) is None
    until(lambda: bool(outages_in(impatient.text)))
    chief.start()
    until(lambda: client.heartbeat(beat) is not None)
    assert f"the chief at {chief.address} answers again, after" in impatient.text
    impatient.clear()
    time.sleep(1.0)  # several times the interval
    assert not impatient.text


def test_a_short_outage_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    outage = ChiefOutage("chief:8000")
    outage.begin("Connection refused")
    outage.end()
    assert not caplog.text
