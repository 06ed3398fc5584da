"""Waiting until another process of the pod has left its memory."""

from pathlib import Path

import pytest

from tests.worker.conftest import nothing
from tuner import names
from tuner.errors import PreemptedError
from tuner.worker.memory_sharing import await_room, write_number


def environment(folder: Path, processes: int) -> dict[str, str]:
    write_number(folder / "sharing", processes)
    return {names.ENV_SHARING: str(folder / "sharing")}


def test_a_process_that_has_the_memory_to_itself_does_not_wait(tmp_path: Path) -> None:
    missing = {names.ENV_SHARING: str(tmp_path / "missing")}
    assert [await_room(each, nothing) for each in ({}, missing, environment(tmp_path, 1))] == ["", "", ""]


def test_a_process_waits_until_another_one_has_left(tmp_path: Path) -> None:
    shared, looks = environment(tmp_path, 4), iter((4, 5, 3))
    assert await_room(shared, lambda: write_number(tmp_path / "sharing", next(looks))) == (
        "4 processes shared the memory"
    )
    assert next(looks, None) is None


def test_a_process_that_must_end_itself_waits_no_longer(tmp_path: Path) -> None:
    def stop() -> None:
        raise PreemptedError("the worker was asked to stop")

    with pytest.raises(PreemptedError):
        await_room(environment(tmp_path, 2), stop)


def test_a_supervisor_that_lets_none_leave_is_not_awaited_forever(tmp_path: Path) -> None:
    assert await_room(environment(tmp_path, 2), nothing, leave_s=0.0) == "2 processes shared the memory"
