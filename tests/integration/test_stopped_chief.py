"""A chief that is asked to stop ends in time and with the code that says so, whatever the bucket does."""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
from keras_tuner.src import protos

from tests.integration.support import RUN_S, Command, Place, settings, space
from tests.support.fault_proxy import Fault, FaultProxy, Faults, running_proxy
from tests.support.gcs_emulator import Emulator, free_port
from tuner import names
from tuner.bucket import Bucket, open_bucket
from tuner.data.pack import pack
from tuner.study.journal import read_study

END_S = 20.0
PREEMPTED = 143
messages = protos.get_service()


@dataclass
class Served:
    """A chief on a bucket whose network can be made to hang."""

    command: Command
    bucket: Bucket
    proxy: FaultProxy
    stub: Any

    def ask(self) -> grpc.Future:
        """Ask for a trial."""
        return self.stub.CreateTrial.future(messages.CreateTrialRequest(tuner_id="w"), timeout=60)

    def await_stall(self) -> None:
        """Return when a request hangs."""
        deadline = time.monotonic() + 60
        while not self.proxy.met[Fault.STALL]:
            assert time.monotonic() < deadline
            assert self.command.process.poll() is None
            time.sleep(0.05)

    def ends_in_time(self) -> None:
        """Ask it to stop."""
        self.command.process.send_signal(signal.SIGTERM)
        done = self.command.wait(END_S)
        assert done.code == PREEMPTED, done.err
        assert done.err.startswith("The chief was asked to stop")
        assert done.err.count("\n") == 1


@contextmanager
def served(place: Place, bucket: Bucket, proxy: FaultProxy, data: str) -> Iterator[Served]:
    port = free_port()
    address = {names.ENV_ORACLE_IP: "127.0.0.1", names.ENV_ORACLE_PORT: str(port)}
    storage = {names.ENV_BUCKET: bucket.url, names.ENV_EMULATOR: proxy.url}
    pack(data, bucket)
    study = settings(search__max_trials=1, training__epochs=1)
    chief = place.start("chief", *space("Tiny"), *study, **storage, **address)
    deadline = time.monotonic() + RUN_S
    while "listens on port" not in place.logs():
        assert time.monotonic() < deadline, place.logs()
        assert chief.process.poll() is None, place.logs()
        time.sleep(0.1)
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield Served(chief, bucket, proxy, protos.get_service_grpc().OracleStub(channel))


@pytest.fixture
def bucket(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    monkeypatch.setenv(names.ENV_EMULATOR, emulator.url)
    return open_bucket(f"gs://{emulator.new_bucket()}")


def test_while_the_journal_cannot_be_written(
    place: Place, emulator: Emulator, bucket: Bucket, two_colours: str
) -> None:
    with running_proxy(emulator.url) as proxy, served(place, bucket, proxy, two_colours) as chief:
        proxy.faults = Faults(stall=1.0, stall_s=120.0)
        request = chief.ask()
        chief.await_stall()
        chief.ends_in_time()
        assert request.exception() is not None


def test_while_models_that_are_not_needed_any_more_are_deleted(
    place: Place, emulator: Emulator, bucket: Bucket, two_colours: str
) -> None:
    with running_proxy(emulator.url) as proxy, served(place, bucket, proxy, two_colours) as chief:
        bucket.write(names.checkpoint(place.study, "00000", 9, 0), b"of an attempt that the journal does not know")
        proxy.faults, proxy.scripted_methods = Faults(stall_s=120.0), frozenset({"DELETE"})
        proxy.script.extend([Fault.STALL] * 100)
        trial = chief.ask().result().trial
        report = messages.UpdateTrialRequest(trial_id=trial.trial_id, metrics={"val_accuracy": 0.5}, step=0)
        chief.stub.UpdateTrial(report, timeout=60)
        trial.status = protos.get_proto().TrialStatus.COMPLETED
        chief.stub.EndTrial(messages.EndTrialRequest(trial=trial), timeout=60)
        assert chief.ask().result().trial.status == protos.get_proto().TrialStatus.STOPPED
        chief.await_stall()
        chief.ends_in_time()
    assert read_study(bucket, place.study).finished
