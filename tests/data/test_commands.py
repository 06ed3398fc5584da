"""The commands, as a user runs them."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.data.conftest import ROOT
from tests.data.images import Files, encode, pixels, write_folder, write_zip
from tests.data.test_cifake_download import Server, serving
from tests.support.children import child
from tests.support.command_line import Finished, run_in_process
from tuner import names
from tuner.bucket import open_bucket
from tuner.data.manifest import find_data_sets


def run(*arguments: object, environment: dict[str, str] | None = None) -> Finished:
    return run_in_process("data", *arguments, environment=environment)


def test_pack_prints_digest_counts_and_pace(tmp_path: Path, files: Files) -> None:
    ended = run("pack", write_zip(tmp_path / "archive.zip", files), tmp_path / "bucket")
    assert ended.code == 0, ended.err
    (digest,) = find_data_sets(open_bucket(str(tmp_path / "bucket")))
    assert digest in ended.out
    assert "18 images" in ended.out
    assert "images/s" in ended.out
    assert "train" in ended.out


def test_pack_takes_the_bucket_out_of_the_environment_and_prints_json(tmp_path: Path, files: Files) -> None:
    source = write_folder(tmp_path / "source", {**files, "test/REAL/9.png": encode(pixels(9, 20, 10), mode="L")})
    bucket = tmp_path / "bucket"
    arguments = ["pack", source, "--resize", "4x6", "--convert", "--json"]
    ended = run(*arguments, environment={names.ENV_BUCKET: str(bucket)})
    assert ended.code == 0, ended.err
    printed = json.loads(ended.out)
    assert [printed["digest"]] == find_data_sets(open_bucket(str(bucket)))
    assert printed["image_shape"] == [4, 6, 3]
    assert printed["counts"] == {"train": {"FAKE": 6, "REAL": 6}, "test": {"FAKE": 3, "REAL": 4}}
    assert printed["images"] == 19
    assert printed["images_per_second"] > 0


def test_bad_input_is_one_sentence_and_exit_code_2(tmp_path: Path) -> None:
    source = tmp_path / "archive.zip"
    source.write_bytes(b"no zip")
    for command in (["pack", source, tmp_path / "bucket"], ["check", source], ["fetch", source]):
        ended = run(*command)
        assert ended.code == 2
        assert ended.err.startswith("error: archive.zip: is not a zip archive")
        assert ended.err.count("\n") == 1
        assert ended.out == ""


def test_check_reports_and_fails_for_a_corrupt_file_only(tmp_path: Path, files: Files) -> None:
    files["test/REAL/1.png"] = files["train/FAKE/0.png"]
    folder = write_folder(tmp_path / "source", files)
    ended = run("check", folder)
    assert ended.code == 0, ended.err
    assert "1 pairs of exact duplicates across train/FAKE and test/REAL" in ended.out
    write_folder(folder, {"train/REAL/9.jpg": b"text"})
    ended = run("check", folder, "--json")
    assert ended.code == 2
    assert "1 of 19 files are corrupt" in ended.err
    report = json.loads(ended.out)
    assert report["corrupt"][0]["path"] == "train/REAL/9.jpg"
    assert report["duplicates"] == [{"folders": ["train/FAKE", "test/REAL"], "pairs": 1}]


def test_fetch_refuses_images_that_are_not_cifake(tmp_path: Path, files: Files) -> None:
    archive = write_zip(tmp_path / "served.zip", files).read_bytes()
    with serving(Server(archive)) as server:
        ended = run("fetch", tmp_path / "target.zip", "--url", server.url)
    assert ended.code == 2
    assert "instead of 50,000" in ended.err
    assert not (tmp_path / "target.zip").exists()


@pytest.mark.slow
def test_fetch_keeps_cifake_whole_through_cut_connections(tmp_path: Path, cifake_zip: Path) -> None:
    archive = cifake_zip.read_bytes()
    with serving(Server(archive, cut_after=len(archive) // 3, cuts=2)) as server:
        ended = run("fetch", tmp_path / "target.zip", "--url", server.url, "--json")
    assert ended.code == 0, ended.err
    assert len(server.ranges) == 3
    assert (tmp_path / "target.zip").read_bytes() == archive
    assert json.loads(ended.out)["verified"] is True


def test_help_imports_nothing_heavy() -> None:
    program = (
        "import sys; import tuner.cli.data; "
        "print([name for name in ('numpy', 'PIL', 'simplejpeg', 'requests', 'pydantic') if name in sys.modules])"
    )
    ended = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "[]"


WAITING_POOL = """
import os, sys
from tuner.data.processes import ALONE_FILES, Workers

with Workers() as workers:
    workers.start(ALONE_FILES + 1)
    assert list(workers.map(abs, range(100))) == list(range(100))
    print("ready", flush=True)
    sys.stdin.read()
"""
PACKING = """
import sys
from tuner.cli.app import main
from tuner.data import processes

processes.ALONE_FILES = 1
sys.argv = ["cifake-tune", "data", "pack", *sys.argv[1:]]
main()
"""


def children_of(pid: int) -> set[int]:
    return {
        int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()
    }


def await_end(processes: set[int]) -> None:
    deadline = time.monotonic() + 120
    while alive := {pid for pid in processes if Path(f"/proc/{pid}/cmdline").exists() and is_running(pid)}:
        assert time.monotonic() < deadline, f"{alive} still run"
        time.sleep(0.05)


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one core packs without other processes")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_processes_that_wait_for_work_end_with_the_command(number: signal.Signals) -> None:
    with child(WAITING_POOL) as command:
        assert command.stdout is not None
        assert command.stdout.readline() == "ready\n"
        pool = children_of(command.pid)
        assert len(pool) >= 2
        command.send_signal(number)
        command.wait(60)
        await_end(pool)


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one core packs without other processes")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_pack_leaves_no_processes_behind(tmp_path: Path, files: Files, number: signal.Signals) -> None:
    source = write_zip(tmp_path / "archive.zip", files)
    with child(PACKING, str(source), str(tmp_path / "bucket")) as command:
        deadline = time.monotonic() + 120
        while len(pool := children_of(command.pid)) < 2:
            assert time.monotonic() < deadline
            assert command.poll() is None
            time.sleep(0.01)
        command.send_signal(number)
        assert command.wait(120) == (-number if number == signal.SIGKILL else 143)
        await_end(pool)
