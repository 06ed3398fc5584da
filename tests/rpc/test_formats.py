"""Chief and workers of different versions: minor ones understand each other, major ones refuse with both numbers."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from tests.support.service import STUDY, Chief, with_chief
from tuner import names
from tuner.config import formats
from tuner.rpc import lease_service
from tuner.rpc.lease_service import METHODS, Message
from tuner.study.records import Outcome
from tuner.study.status import WorkerStatus

ATTEMPT = {"worker": "w0", "incarnation": "1", "trial": "00000", "attempt": 1}
WORKER = WorkerStatus(worker="w0", trial=None, attempt=0, epoch=0, progress=0, images_per_s=0, silent_s=0)
REQUESTS: dict[str, Message] = {
    "Join": lease_service.Join(worker="w0", incarnation="1"),
    "Heartbeat": lease_service.Heartbeat(worker="w0", incarnation="1"),
    "GiveBack": lease_service.GiveBack(**ATTEMPT, outcome=Outcome.FAILED, reason="so"),
    "Status": lease_service.Empty(),
}
ANSWERS: dict[str, Message] = {
    "Join": lease_service.Joined(incarnation="1.1.1", study=STUDY, data="d", direction="max"),
    "Heartbeat": lease_service.Beat(held=True, next_s=1),
    "GiveBack": lease_service.Empty(),
    "Status": lease_service.Status(workers=[WORKER]),
}


def edited(message: Message, **changes: object) -> bytes:
    """Return a message as a program of another version might have written it."""
    return json.dumps(json.loads(message.model_dump_json(by_alias=True)) | changes).encode()


def test_every_message_carries_its_format() -> None:
    assert REQUESTS.keys() == ANSWERS.keys() == METHODS.keys()
    for message in (*REQUESTS.values(), *ANSWERS.values()):
        assert json.loads(message.model_dump_json())["format"] == "1.4"


def with_unknown_settings(document: dict[str, Any]) -> None:
    if "study" in document:
        document["study"]["unheard"] = {"of": 1}
        document["study"]["search"]["early_stopping"]["unheard"] = 1
    for worker in document.get("workers", []):
        worker["unheard"] = 1


@pytest.mark.parametrize("name", METHODS)
def test_fields_of_a_newer_minor_version_are_ignored(name: str) -> None:
    for kind, message in zip(METHODS[name], (REQUESTS[name], ANSWERS[name]), strict=True):
        document = json.loads(edited(message, format="1.7", unheard={"of": 1}))
        with_unknown_settings(document)
        understood = kind.model_validate_json(json.dumps(document))
        assert understood.model_copy(update={"format": "1.4"}) == message
        assert "unheard" not in understood.model_dump_json()


@pytest.mark.parametrize("name", METHODS)
def test_a_message_without_a_format_has_1_0(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "COMPATIBLE", "1.5")
    for kind, message in zip(METHODS[name], (REQUESTS[name], ANSWERS[name]), strict=True):
        document = json.loads(edited(message))
        del document["format"]
        assert kind.model_validate_json(json.dumps(document)).format == "1.0"
    assert lease_service.Empty().format == "1.5"


@pytest.mark.parametrize("name", METHODS)
def test_a_chief_refuses_a_newer_major_version_and_names_both(tmp_path: Path, name: str) -> None:
    async def talk(chief: Chief, channel: grpc.aio.Channel) -> None:
        call = channel.unary_unary(f"/{names.LEASE_SERVICE}/{name}")
        snapshot = repr(chief.state), repr(chief.service.workers.entries)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await call(edited(REQUESTS[name], format="3.1"))
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert f"the {name} request has format 3.1, and this program reads 2.0" in str(refused.value.details())
        assert lease_service.is_version_refusal(refused.value)
        assert (repr(chief.state), repr(chief.service.workers.entries)) == snapshot

    with_chief(tmp_path, talk)


@pytest.mark.parametrize("version", ["", "2", "1.x", "-1.0", "1.0\n", "9999999.0", 1.0, None, [], {}])
def test_a_chief_refuses_what_is_no_version(tmp_path: Path, version: object) -> None:
    async def talk(chief: Chief, channel: grpc.aio.Channel) -> None:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await channel.unary_unary(f"/{names.LEASE_SERVICE}/Join")(edited(REQUESTS["Join"], format=version))
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert not lease_service.is_version_refusal(refused.value)
        assert not chief.service.workers.entries

    with_chief(tmp_path, talk)


def test_a_chief_serves_a_worker_of_a_newer_minor_version_and_stores_nothing_unknown(tmp_path: Path) -> None:
    async def talk(chief: Chief, channel: grpc.aio.Channel) -> None:
        call: Callable[..., Any] = channel.unary_unary(f"/{names.LEASE_SERVICE}/Join")
        answer = await call(edited(REQUESTS["Join"], format="1.9", unheard="x" * 100_000))
        assert lease_service.Joined.model_validate_json(answer).study.name == STUDY.name
        assert list(chief.service.workers.entries) == ["w0"]
        assert "xxx" not in repr(chief.service.workers.entries)

    with_chief(tmp_path, talk)
