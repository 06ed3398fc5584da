"""A worker whose disk has no room for another file reports that, and ends with the environment's exit code."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.chief import RunningChief
from tests.support.disks import fill_with_files, small_disk
from tuner import names
from tuner.bucket.local import LocalBucket
from tuner.errors import EnvironmentFailure, ExitCode
from tuner.monitoring.catalogue import Role
from tuner.monitoring.endpoint import Monitor
from tuner.temporary_files import temporary_file, temporary_folder
from tuner.worker.run import run_worker

MESSAGE = (
    "cannot create temporary files in {} (No space left on device). Free some disk space, or set TMPDIR to a folder "
    "with free space."
)


@pytest.fixture
def full(tmp_path: Path) -> Iterator[Path]:
    """A disk without room for another file."""
    with small_disk(tmp_path / "tmp", 64, files=8) as disk:
        fill_with_files(disk)
        yield disk


def test_when_it_starts(full: Path, tmp_path: Path) -> None:
    # of several folders for temporary files Python takes one that is not full; here it has chosen before
    program = f"import tempfile; tempfile.tempdir = {str(full)!r}; from cifake_tune import main; main()"
    address = {names.ENV_ORACLE_IP: "127.0.0.1", names.ENV_ORACLE_PORT: "1", names.ENV_TUNER_ID: "w"}
    done = subprocess.run(
        [sys.executable, "-c", program, "worker"],
        env={"PYTHONPATH": str(Path(__file__).parents[2]), names.ENV_BUCKET: str(tmp_path / "bucket"), **address},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == f"error: {MESSAGE.format(full)}\n"
    assert done.returncode == ExitCode.ENVIRONMENT


@pytest.mark.usefixtures("signals")
def test_when_it_has_joined(
    full: Path, chief: RunningChief, bucket: LocalBucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(full))
    with pytest.raises(EnvironmentFailure) as raised:
        run_worker(bucket, chief.address, None, "w", tmp_path / "cache", Monitor(Role.WORKER))
    assert str(raised.value) == MESSAGE.format(full)


def test_where_no_folder_has_room_all_are_named(full: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: [str(full)])
    for make in (temporary_file, temporary_folder):
        with pytest.raises(
            EnvironmentFailure, match=r"cannot create temporary files \(No usable temporary directory found in .*TMPDIR"
        ):
            make()
