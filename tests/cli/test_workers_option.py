"""`run --workers`: a number, or one worker for each GPU."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.support.command_line import Finished, run_in_process
from tuner import names
from tuner.cli import roles
from tuner.errors import ExitCode
from tuner.local import gpu_inventory, gpus
from tuner.local.crew import Crew
from tuner.local.gpu_inventory import Gpu, GpuInventory

FOUR = GpuInventory(tuple(Gpu(f"GPU-{n}", f"GPU {n}", "NVIDIA H200") for n in range(4)))


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Crew]:
    """The workers with which `run` would begin on a machine with four GPUs."""
    begun: list[Crew] = []

    def run_study(study: Any, values: Any, bucket: Any, crew: Crew, *_: object) -> None:
        begun.append(crew)

    monkeypatch.setattr("tuner.local.run.run_study", run_study)
    monkeypatch.setattr(roles, "choose_backend", lambda: "jax")
    monkeypatch.setattr(gpu_inventory, "find_gpus", lambda _: FOUR)
    monkeypatch.setattr(gpus, "can_use_gpus", lambda _: True)
    return begun


def run(tmp_path: Path, *arguments: str) -> Finished:
    return run_in_process("run", *arguments, environment={names.ENV_CACHE: str(tmp_path)})


@pytest.mark.parametrize(
    ("arguments", "workers"), [((), 4), (("--workers", "auto"), 4), (("--workers=1",), 1), (("--workers=256",), 256)]
)
def test_there_are_as_many_workers_as_gpus_unless_a_number_is_given(
    arguments: Sequence[str], workers: int, tmp_path: Path, started: list[Crew]
) -> None:
    done = run(tmp_path, *arguments)
    assert done.code == 0, done.err
    assert started == [Crew(workers, FOUR, 1)]


def test_a_backend_without_code_for_gpus_gets_one_worker_and_the_user_a_warning(
    tmp_path: Path, started: list[Crew], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpus, "can_use_gpus", lambda _: False)
    done = run(tmp_path)
    assert started == [Crew(1, FOUR, 1)]
    assert "Warning: this machine has 4 GPUs, but the installed jax has no code for GPUs" in done.out


@pytest.mark.parametrize("number", ["0", "257", "-1", "two", "1.5", "", "1" * 5000, "٣", "AUTO", "1\x1b[2J"])
def test_a_wrong_number_of_workers_is_refused(number: str, tmp_path: Path, started: list[Crew]) -> None:
    done = run(tmp_path, f"--workers={number}")
    assert done.code == ExitCode.USAGE
    assert "--workers must be auto or a number from 1 to 256, got " in done.err
    assert "\x1b" not in done.err
    assert started == []


@pytest.mark.parametrize(("arguments", "spare"), [((), 1), (("--spare", "0"), 0), (("--spare=3",), 3)])
def test_one_idle_worker_stays_at_the_end_unless_a_number_is_given(
    arguments: Sequence[str], spare: int, tmp_path: Path, started: list[Crew]
) -> None:
    done = run(tmp_path, *arguments)
    assert done.code == 0, done.err
    assert [crew.spare for crew in started] == [spare]


@pytest.mark.parametrize("spare", ["-1", "many", "1.5", "257"])
def test_a_wrong_number_of_idle_workers_is_refused(spare: str, tmp_path: Path, started: list[Crew]) -> None:
    done = run(tmp_path, f"--spare={spare}")
    assert done.code == ExitCode.USAGE
    assert "--spare" in done.err
    assert started == []


@pytest.mark.parametrize("spare", ["-1", "many", "9" * 500, "²"])
def test_a_chief_refuses_a_wrong_number_of_idle_workers(spare: str, tmp_path: Path) -> None:
    environment = {
        names.ENV_CACHE: str(tmp_path),
        names.ENV_BUCKET: str(tmp_path / "bucket"),
        names.ENV_ORACLE_IP: "127.0.0.1",
        names.ENV_ORACLE_PORT: "8000",
        names.ENV_SPARE: spare,
    }
    done = run_in_process("chief", environment=environment)
    assert done.code == ExitCode.USAGE
    assert f"{names.ENV_SPARE} must be a number of workers, got " in done.err
