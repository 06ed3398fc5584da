"""Senseless and hostile requests are answered with a status; nothing changes, and other clients are served."""

import asyncio
import random
import socket
import struct
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from keras_tuner.src import protos

from tests.support.service import Chief, finish, messages, metadata, stub_of, take, with_chief
from tuner import limits, names
from tuner.rpc import lease_service
from tuner.study.records import TrialState

ORACLE = "keras_tuner.Oracle"
VALID: dict[str, bytes] = {
    f"/{ORACLE}/GetSpace": messages.GetSpaceRequest().SerializeToString(),
    f"/{ORACLE}/UpdateSpace": messages.UpdateSpaceRequest().SerializeToString(),
    f"/{ORACLE}/CreateTrial": messages.CreateTrialRequest(tuner_id="someone").SerializeToString(),
    f"/{ORACLE}/UpdateTrial": messages.UpdateTrialRequest(
        trial_id="00000", metrics={"val_accuracy": 0.5}, step=1
    ).SerializeToString(),
    f"/{ORACLE}/EndTrial": messages.EndTrialRequest(
        trial=protos.get_proto().Trial(trial_id="00000")
    ).SerializeToString(),
    f"/{ORACLE}/GetTrial": messages.GetTrialRequest(trial_id="00000").SerializeToString(),
    f"/{ORACLE}/GetBestTrials": messages.GetBestTrialsRequest(num_trials=3).SerializeToString(),
    f"/{names.LEASE_SERVICE}/Join": lease_service.Join(worker="someone", incarnation="x").model_dump_json().encode(),
    f"/{names.LEASE_SERVICE}/Heartbeat": lease_service.Heartbeat(worker="w0", incarnation="x", trial="00000", attempt=1)
    .model_dump_json()
    .encode(),
    f"/{names.LEASE_SERVICE}/GiveBack": lease_service.GiveBack(
        worker="w0", incarnation="x", trial="00000", attempt=1, outcome="failed", reason="so"
    )
    .model_dump_json()
    .encode(),
    f"/{names.LEASE_SERVICE}/Status": b"{}",
    f"/{ORACLE}/NoSuchMethod": b"",
    "/no.Such/Service": b"",
}
SEED = 20240527
REQUESTS = 1500


def hostile(rng: random.Random, valid: bytes) -> bytes:
    """Return random bytes, or a valid message with one error."""
    data = bytearray(valid)
    match rng.randrange(7):
        case 0:
            return rng.randbytes(rng.choice([0, 1, 7, 100, 5000]))
        case 1:
            return bytes(data[: rng.randrange(len(data) + 1)])
        case 2:
            for _ in range(rng.randrange(1, 6)):
                data.insert(rng.randrange(len(data) + 1), rng.randrange(256))
        case 3:
            for _ in range(min(len(data), 3)):
                data[rng.randrange(len(data))] = rng.randrange(256)
        case 4:
            return bytes(data) * rng.randrange(2, 50)
        case 5:  # numbers as large as there is room for, in both forms
            data = data.replace(b"1", b"9" * rng.choice([9, 19, 400, 5000]))
            data += b"\x18" + b"\xff" * 9 + b"\x01"
        case 6:  # no UTF-8, lone surrogates, control characters, nesting
            junk = rng.choice([b"\xff\xfe", b"\\ud800", b"\0\n\x1b[2J", b"[" * 10_000, b"\x0b" * 5000, b'{"a":' * 5000])
            at = rng.randrange(len(data) + 1)
            data[at:at] = junk
    return bytes(data)


def hostile_metadata(rng: random.Random) -> list[tuple[str, str | bytes]]:
    """Return metadata that may be of any kind, but never a worker's identity."""
    values: list[str | bytes] = ["", "-1", "1e9", "9" * 4500, "~" * 3000, "1", " 1", "x", "..\\/../x"]
    keys = (names.METADATA_WORKER, names.METADATA_INCARNATION, names.METADATA_ATTEMPT, names.METADATA_CHECKPOINT)
    metadata = [(key, rng.choice(values)) for key in keys if rng.random() < 0.4]
    return [*metadata, ("cifake-tune-attempt-bin", rng.randbytes(20))] if rng.random() < 0.3 else metadata


def test_random_and_mutated_requests_are_answered_with_a_status_and_change_nothing(tmp_path: Path) -> None:
    async def talk(chief: Chief, channel: grpc.aio.Channel) -> None:
        stub = stub_of(channel)
        trials = [await take(stub, f"w{number}") for number in range(3)]
        chief.service.oracle.exhausted = True
        snapshot = repr(chief.state)
        rng = random.Random(SEED)
        codes = set()
        for _ in range(REQUESTS // 50):
            calls = []
            for _ in range(50):
                method = rng.choice(list(VALID))
                call = channel.unary_unary(method)
                timeout = 0.3 if method.endswith("CreateTrial") else 20
                calls.append(call(hostile(rng, VALID[method]), metadata=hostile_metadata(rng), timeout=timeout))
            for call in calls:
                codes.add(await call.code())
        assert grpc.StatusCode.UNKNOWN not in codes  # no method failed
        assert repr(chief.state) == snapshot
        assert grpc.StatusCode.INVALID_ARGUMENT in codes
        assert grpc.StatusCode.UNIMPLEMENTED in codes
        for number, trial in enumerate(trials):
            await finish(stub, trial, f"w{number}")
        assert {trial.state for trial in chief.state.trials.values()} == {TrialState.COMPLETED}

    with_chief(tmp_path, talk, timeout_s=120)


REPORTS: dict[str, dict[str, Any]] = {
    "an epoch before the first": {"step": -1},
    "a huge epoch": {"step": 10**9},
    "too many metrics": {"metrics": {"val_accuracy": 0.1} | {f"m{number}": 0.1 for number in range(200)}},
    "a metric without a name": {"metrics": {"val_accuracy": 0.1, "": 0.1}},
    "a long name": {"metrics": {"val_accuracy": 0.1, "m" * 201: 0.1}},
    "control characters": {"metrics": {"val_accuracy": 0.1, "a\nb": 0.1}},
    "no objective": {"metrics": {"loss": 0.1}},
}


@pytest.mark.parametrize("case", REPORTS)
def test_a_report_out_of_bounds_is_refused_to_the_attempts_own_worker_too(tmp_path: Path, case: str) -> None:
    async def talk(chief: Chief, channel: grpc.aio.Channel) -> None:
        stub = stub_of(channel)
        trial = await take(stub)
        snapshot = repr(chief.state)
        report: dict[str, Any] = {"trial_id": trial.trial_id, "metrics": {"val_accuracy": 0.5}, "step": 0} | REPORTS[
            case
        ]
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.UpdateTrial(messages.UpdateTrialRequest(**report), metadata=metadata(1))
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert repr(chief.state) == snapshot

    with_chief(tmp_path, talk)


def test_an_infinite_objective_wins_nothing(tmp_path: Path) -> None:
    async def talk(chief: Chief, channel: grpc.aio.Channel) -> None:
        stub = stub_of(channel)
        for worker, value in (("w0", float("inf")), ("w1", float("nan"))):
            trial = await take(stub, worker)
            report = messages.UpdateTrialRequest(trial_id=trial.trial_id, metrics={"val_accuracy": value}, step=0)
            await stub.UpdateTrial(report, metadata=metadata(1, worker))
            end = messages.EndTrialRequest(trial=trial)
            end.trial.status = protos.get_proto().TrialStatus.COMPLETED
            await stub.EndTrial(end, metadata=metadata(1, worker))
            ended = chief.state.trials[trial.trial_id]
            assert (ended.state, ended.reason) == (TrialState.FAILED, "no epoch has a finite objective")

    with_chief(tmp_path, talk)


@pytest.mark.parametrize("metric", ["val_mean_io_u", "precision_at_recall", "Metric", "get", "deserialize"])
def test_a_metric_may_have_any_name_that_can_be_printed(tmp_path: Path, metric: str) -> None:
    async def talk(chief: Chief, channel: grpc.aio.Channel) -> None:
        stub = stub_of(channel)
        trial = (await stub.CreateTrial(messages.CreateTrialRequest(tuner_id="stock"))).trial
        metrics = {"val_accuracy": 0.5, metric: 0.25}
        answer = await stub.UpdateTrial(messages.UpdateTrialRequest(trial_id=trial.trial_id, metrics=metrics))
        assert answer.trial.metrics.metrics[metric].observations[0].value == [0.25]

    with_chief(tmp_path, talk)


@pytest.mark.parametrize("name", ["", "a" * 201, "a\nb", "\x1b[2J"])
def test_a_worker_must_have_a_name_that_can_be_printed(tmp_path: Path, name: str) -> None:
    async def talk(chief: Chief, channel: grpc.aio.Channel) -> None:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub_of(channel).CreateTrial(messages.CreateTrialRequest(tuner_id=name))
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert not chief.service.workers.entries
        assert not chief.state.trials

    with_chief(tmp_path, talk)


# ---- too much -----------------------------------------------------------------------------------
@pytest.mark.parametrize("what", ["message", "metadata", "best trials"])
def test_what_is_too_large_is_refused(tmp_path: Path, what: str) -> None:
    async def talk(chief: Chief, channel: grpc.aio.Channel) -> None:
        stub = stub_of(channel)
        large = (("large", "a" * 3 * limits.METADATA_BYTES),)
        calls = {
            "message": lambda: stub.CreateTrial(messages.CreateTrialRequest(tuner_id="a" * limits.MESSAGE_BYTES)),
            "metadata": lambda: stub.CreateTrial(messages.CreateTrialRequest(tuner_id="a"), metadata=large),
            "best trials": lambda: stub.GetBestTrials(messages.GetBestTrialsRequest(num_trials=2**31 - 1)),
        }
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await calls[what]()
        expected = grpc.StatusCode.INVALID_ARGUMENT if what == "best trials" else grpc.StatusCode.RESOURCE_EXHAUSTED
        assert refused.value.code() is expected
        assert (await take(stub)).trial_id == "00000"

    with_chief(tmp_path, talk)


def test_calls_that_are_too_many_are_refused_and_the_others_are_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "CALLS", 20)

    async def talk(chief: Chief, channel: grpc.aio.Channel) -> None:
        stub = stub_of(channel)
        trials = [await take(stub, f"w{number}") for number in range(3)]
        flood = [asyncio.create_task(take(stub, f"idle{number}")) for number in range(40)]
        refused, waiting = await asyncio.wait(flood, timeout=1)
        assert len(refused) == 20
        assert {task.exception().code() for task in refused} == {grpc.StatusCode.RESOURCE_EXHAUSTED}  # type: ignore[union-attr]
        for task in waiting:
            task.cancel()
        await asyncio.wait(waiting)
        for number, trial in enumerate(trials):
            await served(partial(finish, stub, trial, f"w{number}"))
        assert len(chief.state.ended) == 3

    with_chief(tmp_path, talk)


async def served(call: Callable[[], Awaitable[None]]) -> None:
    """Retry until the chief accepts the call, as a worker does."""
    while True:
        try:
            return await call()
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED:
                raise
        await asyncio.sleep(0.05)


def test_workers_that_are_too_many_are_refused_and_silent_ones_are_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "WORKERS", 5)

    async def talk(chief: Chief, channel: grpc.aio.Channel) -> None:
        join = channel.unary_unary(f"/{names.LEASE_SERVICE}/Join")
        requests = [lease_service.Join(worker=f"w{n}", incarnation="1").model_dump_json().encode() for n in range(6)]
        for request in requests[:5]:
            await join(request)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await join(requests[5])
        assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        chief.service.workers.entries["w0"].last_seen -= limits.REMEMBERED_S + 1
        chief.service.workers.remove_silent()
        assert list(chief.service.workers.entries) == ["w1", "w2", "w3", "w4"]
        await join(requests[5])

    with_chief(tmp_path, talk)


# ---- below gRPC ---------------------------------------------------------------------------------
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


BROKEN = {
    "silence": b"",
    "half a preface": PREFACE[:10],
    "garbage": random.Random(SEED).randbytes(4000),
    "HTTP/1": b"GET / HTTP/1.1\r\nHost: chief\r\n\r\n",
    "a preface and garbage": PREFACE + random.Random(SEED).randbytes(4000),
    "a frame larger than allowed": PREFACE + frame(4, 0, 0, b"") + b"\xff\xff\xff\0\0\0\0\0\1",
    "headers without an end": PREFACE + frame(4, 0, 0, b"") + frame(1, 0, 1, b"\x82"),
    "data for no stream": PREFACE + frame(4, 0, 0, b"") + frame(0, 1, 7, b"x" * 100),
}


@pytest.mark.slow
def test_broken_connections_are_closed_and_others_are_served_meanwhile(tmp_path: Path) -> None:
    async def talk(chief: Chief, channel: grpc.aio.Channel) -> None:
        stub = stub_of(channel)
        with ExitStack() as stack:
            sockets = {
                what: [stack.enter_context(socket.create_connection(("127.0.0.1", chief.port), 5)) for _ in range(20)]
                for what in BROKEN
            }
            slow = stack.enter_context(socket.create_connection(("127.0.0.1", chief.port), 5))
            for what, connections in sockets.items():
                for connection in connections:
                    connection.sendall(BROKEN[what])
            began = time.monotonic()
            for number in range(3):
                slow.sendall(PREFACE[number : number + 1])
                await finish(stub, await take(stub, f"w{number}"), f"w{number}")
            assert time.monotonic() - began < 5
            ends = await asyncio.gather(*(closed(sockets[what][0]) for what in BROKEN), closed(slow))
            unclosed = {what for what, end in zip(BROKEN, ends, strict=False) if not end}
            assert unclosed <= {"headers without an end", "data for no stream"}  # a worker's could look like these
            assert ends[-1]
        assert len(chief.state.ended) == 3

    with_chief(tmp_path, talk, timeout_s=100)


async def closed(connection: socket.socket) -> bool:
    """Return whether the other side closes the connection within its timeout and some more."""
    connection.settimeout(None)
    connection.setblocking(False)
    loop = asyncio.get_running_loop()
    deadline = time.monotonic() + 20
    while (left := deadline - time.monotonic()) > 0:
        try:
            if not await asyncio.wait_for(loop.sock_recv(connection, 4096), left):
                return True
        except ConnectionResetError:
            return True
        except TimeoutError:
            break
    return False
