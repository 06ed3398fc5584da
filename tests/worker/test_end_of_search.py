"""A worker that was suspended when the search ended finds out from the journal, without the chief."""

import threading
import time
from collections.abc import Callable

import grpc
import keras_tuner
import pytest

from tests.support.chief import RunningChief, running_chief
from tests.worker.conftest import nothing
from tuner.bucket.local import LocalBucket
from tuner.config.settings import Study
from tuner.errors import ChiefUnreachableError
from tuner.rpc import lease_service
from tuner.worker import chief_client as client_module
from tuner.worker.call_errors import SearchOverError
from tuner.worker.chief_client import ChiefClient, Grant
from tuner.worker.run import EndOfSearch

WITHIN_S = 20.0


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "LOOK_UP_S", 0.5)


@pytest.fixture
def lonely(chief: RunningChief, client: ChiefClient, bucket: LocalBucket, study: Study) -> Callable[[], None]:
    """Return a function that stops the client's chief and ends the search with a chief that the client cannot reach."""
    client.is_finished = EndOfSearch(bucket, study.name).is_finished
    client.timeout_s = 60.0

    def end_elsewhere() -> None:
        chief.stop()
        space = keras_tuner.HyperParameters()
        space.Int("units", 1, 100)
        with running_chief(bucket, study, space) as other:
            other.expire()  # what the client holds
            with grpc.insecure_channel(other.address, options=lease_service.OPTIONS) as channel:
                busy = ChiefClient(channel, other.address, "busy", "1", lambda: None)
                busy.join()
                while (grant := busy.next_trial(nothing)) is not None:
                    busy.report(grant, 0, {"val_accuracy": 0.5}, None, None, threading.Event())
                    busy.complete(grant)

    return end_elsewhere


def test_one_that_waits_for_a_trial_is_told_by_the_journal(
    client: ChiefClient, new_client: Callable[[str], ChiefClient], lonely: Callable[[], None]
) -> None:
    for number in range(3):  # all trials are others', so that it waits
        new_client(f"other{number}").next_trial(nothing)
    answers: list[Grant | None] = []
    waiting = threading.Thread(target=lambda: answers.append(client.next_trial(nothing)))
    waiting.start()
    lonely()
    client.heartbeat(lease_service.Heartbeat(worker="w0", incarnation=client.incarnation))  # as the thread does
    waiting.join(WITHIN_S)
    assert answers == [None]


def test_one_that_reports_drops_its_attempt(client: ChiefClient, grant: Grant, lonely: Callable[[], None]) -> None:
    lonely()
    began = time.monotonic()
    with pytest.raises(SearchOverError):
        client.report(grant, 0, {"val_accuracy": 0.5}, None, None, threading.Event())
    assert time.monotonic() - began < WITHIN_S
    assert client.next_trial(nothing) is None


def test_one_whose_chief_is_only_away_goes_on_waiting(
    chief: RunningChief, client: ChiefClient, grant: Grant, bucket: LocalBucket, study: Study
) -> None:
    client.is_finished = EndOfSearch(bucket, study.name).is_finished
    client.timeout_s = 2.0
    chief.stop()
    with pytest.raises(ChiefUnreachableError):
        client.report(grant, 0, {"val_accuracy": 0.5}, None, None, threading.Event())
