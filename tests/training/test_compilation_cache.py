"""Compiled programs on disk: read again whole or not at all, within their limit, and never in the way of a trial."""

import json
import logging
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.integration.support import ROOT
from tests.support.disks import small_disk
from tuner.training import compilation_cache
from tuner.training.compilation_cache import FOLDER, CompiledPrograms, keep_compiled

MB = 1_000_000
PROGRAM = b"machine code" * 1000


def programs(cache: Path, environment: str = "jax-1", limit_bytes: int = MB) -> CompiledPrograms:
    return CompiledPrograms(cache / FOLDER, environment, limit_bytes)


def size_bytes(cache: Path) -> int:
    return sum(path.stat().st_size for path in (cache / FOLDER).rglob("*") if path.is_file())


def test_what_one_process_has_compiled_another_one_reads(tmp_path: Path) -> None:
    assert programs(tmp_path).get("step") is None
    programs(tmp_path).put("step", PROGRAM)
    assert programs(tmp_path).get("step") == PROGRAM


def test_programs_of_another_version_or_processor_are_not_read(tmp_path: Path) -> None:
    programs(tmp_path, "jax-1").put("step", PROGRAM)
    assert programs(tmp_path, "jax-2").get("step") is None


@pytest.mark.parametrize("damage", [b"", PROGRAM[:40], b"\0" * 13_000])
def test_a_damaged_program_is_not_read_and_is_replaced(tmp_path: Path, damage: bytes) -> None:
    kept = programs(tmp_path)
    kept.put("step", PROGRAM)
    (kept.folder / "step").write_bytes(damage)
    assert kept.get("step") is None
    kept.put("step", PROGRAM)
    assert kept.get("step") == PROGRAM


def test_the_programs_that_were_not_used_for_longest_are_deleted_beyond_the_limit(tmp_path: Path) -> None:
    old = programs(tmp_path, "jax-1")
    for number in range(8):
        old.put(f"{number}", bytes(100_000))
        os.utime(old.folder / f"{number}", (number, number))
    assert old.get("0") is not None, "used again, so that it is the newest"
    new = programs(tmp_path, "jax-2")
    for number in range(3):
        new.put(f"{number}", bytes(100_000))
    assert size_bytes(tmp_path) <= MB
    assert old.get("1") is None
    assert old.get("0") is not None
    assert all(new.get(f"{number}") for number in range(3))


def test_a_program_larger_than_the_limit_is_not_kept_and_costs_no_other(tmp_path: Path) -> None:
    kept = programs(tmp_path)
    kept.put("small", PROGRAM)
    kept.put("large", bytes(2 * MB))
    assert kept.get("large") is None
    assert kept.get("small") == PROGRAM


def test_folders_of_versions_whose_programs_are_all_deleted_are_deleted_too(tmp_path: Path) -> None:
    old = programs(tmp_path, "jax-1")
    old.put("step", PROGRAM)
    (old.folder / "step").unlink()
    programs(tmp_path, "jax-2").put("step", PROGRAM)
    assert [folder.name for folder in (tmp_path / FOLDER).iterdir()] == ["jax-2"]


def test_what_a_killed_process_was_writing_is_deleted_an_hour_later(tmp_path: Path) -> None:
    kept = programs(tmp_path)
    kept.folder.mkdir(parents=True)
    abandoned, current = (kept.folder / f"{compilation_cache._MAKING}{name}" for name in ("abandoned", "current"))
    for path in (abandoned, current):
        path.write_bytes(PROGRAM)
    os.utime(abandoned, (0, 0))
    kept.put("step", PROGRAM)
    assert not abandoned.exists()
    assert current.exists()


def test_a_folder_that_cannot_be_written_costs_a_line_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / FOLDER).write_text("a file in its place")
    kept = programs(tmp_path)
    with caplog.at_level(logging.WARNING):
        for key in ("step", "test"):
            assert kept.get(key) is None
            kept.put(key, PROGRAM)
    assert len(caplog.records) == 1
    assert "compiled programs cannot be kept" in caplog.text


def test_a_disk_with_little_space_is_left_to_checkpoints(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with small_disk(tmp_path / "disk", 4096) as disk, caplog.at_level(logging.WARNING):
        kept = programs(disk)
        for key in ("step", "test"):
            kept.put(key, PROGRAM)
            assert kept.get(key) is None
    assert [record.getMessage().count("less than 256 MiB of the disk are free") for record in caplog.records] == [1]


def test_tensorflow_keeps_no_programs(tmp_path: Path) -> None:
    assert keep_compiled(tmp_path, MB) is None
    assert list(tmp_path.iterdir()) == []


def first_steps(python: Path, folder: Path, *arguments: str) -> list[dict[str, Any]]:
    """Run `bench/competitors/first_steps.py`, and return its trials."""
    done = subprocess.run(
        [python, "-m", "bench.competitors.first_steps", folder, *arguments],
        cwd=ROOT,
        env={
            **{key: value for key, value in os.environ.items() if not key.startswith("JAX_")},
            **{"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": "-1"},
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


@pytest.mark.slow
def test_a_second_trial_and_a_resumed_one_compile_nothing_and_compute_the_same(
    tmp_path: Path, jax_python: Path
) -> None:
    kept, without = tmp_path / "kept", tmp_path / "without"
    for folder in (kept, without):
        folder.mkdir()
    first, second = first_steps(jax_python, kept, "100", "seed")
    assert first["compiled"] > 0
    assert second["compiled"] == 0
    assert second["loaded"] > 0
    (resumed,) = first_steps(jax_python, kept, "100", "seed", "--resume")
    assert resumed["compiled"] == 0
    assert resumed["loaded"] > second["loaded"], "a new process needs also the programs that are not of the trial"

    compiled = first_steps(jax_python, without, "0", "seed") + first_steps(jax_python, without, "0", "seed", "--resume")
    assert all(step["compiled"] for step in compiled)
    assert [step["metrics"] for step in compiled] == [step["metrics"] for step in (first, second, resumed)]
    assert not (without / FOLDER).exists()


@pytest.mark.slow
def test_trials_of_deep_with_different_learning_rates_use_the_same_programs(tmp_path: Path, jax_python: Path) -> None:
    first, second = first_steps(jax_python, tmp_path, "100", "deep")
    assert first["compiled"] > 0
    assert (second["compiled"], second["loaded"]) == (0, 2)
    assert second["metrics"] != first["metrics"]
