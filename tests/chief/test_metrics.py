"""The metrics of the chief's calls and its journal, with real calls."""

import asyncio
from pathlib import Path

import grpc
import grpc.aio
import pytest

from tests.support.service import Chief, finish, messages, metadata, stub_of, take, with_chief
from tuner import names
from tuner.chief import journal_writer
from tuner.monitoring.metric_names import Metric
from tuner.study import journal


def value(chief: Chief, name: str, **labels: str) -> float:
    return chief.registry.get_sample_value(name, labels) or 0.0


def test_calls_are_counted_by_method_with_the_time_that_they_took(tmp_path: Path) -> None:
    async def talk(chief: Chief, channel: grpc.aio.Channel) -> None:
        stub = stub_of(channel)
        for _ in range(3):
            await finish(stub, await take(stub))

    chief = with_chief(tmp_path, talk)
    for method in ("CreateTrial", "UpdateTrial", "EndTrial"):
        assert value(chief, f"{Metric.RPC}_count", method=method) == 3
        assert value(chief, f"{Metric.RPC}_sum", method=method) > 0
    assert value(chief, f"{Metric.SUGGESTION}_count") >= 3


def test_calls_that_were_refused_are_counted_by_their_code(tmp_path: Path) -> None:
    async def talk(chief: Chief, channel: grpc.aio.Channel) -> None:
        stub = stub_of(channel)
        trial = await take(stub)
        report = messages.UpdateTrialRequest(trial_id=trial.trial_id, metrics={"val_accuracy": 0.5}, step=0)
        with pytest.raises(grpc.aio.AioRpcError):
            await stub.UpdateTrial(report, metadata=metadata(2), timeout=20)  # there is no such attempt
        unary = channel.unary_unary(f"/{names.LEASE_SERVICE}/Join")
        with pytest.raises(grpc.aio.AioRpcError):
            await unary(b"no message", timeout=20)

    chief = with_chief(tmp_path, talk)
    assert value(chief, Metric.RPC_ERRORS, method="UpdateTrial", code="FAILED_PRECONDITION") == 1
    assert value(chief, Metric.RPC_ERRORS, method="Join", code="INVALID_ARGUMENT") == 1
    assert chief.registry.get_sample_value(Metric.RPC_ERRORS, {"method": "CreateTrial", "code": "UNKNOWN"}) == 0


def test_flushes_and_records_of_the_journal_are_counted(tmp_path: Path) -> None:
    async def talk(chief: Chief, channel: grpc.aio.Channel) -> None:
        stub = stub_of(channel)
        await finish(stub, await take(stub))

    chief = with_chief(tmp_path, talk)
    assert value(chief, f"{Metric.FLUSH}_count") == chief.journal.segments
    written = list(journal.read_records(chief.bucket, chief.state.settings.name))
    assert value(chief, Metric.RECORDS) == len(written)


def test_a_journal_that_waits_says_for_how_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_writer, "STUCK_S", 0.2)

    async def talk(chief: Chief, channel: grpc.aio.Channel) -> None:
        assert chief.journal.waiting_s() == 0
        chief.bucket.delay_s = 1.0
        stub = stub_of(channel)
        call = stub.CreateTrial(messages.CreateTrialRequest(tuner_id="w0"), metadata=metadata(), timeout=20)
        while not chief.journal.problem():
            assert not call.done()
            await asyncio.sleep(0.02)
        assert "the journal cannot be written" in chief.journal.problem()
        await call
        assert chief.journal.problem() == ""

    with_chief(tmp_path, talk)
