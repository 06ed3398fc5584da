"""The commands for several studies: `studies`, `compare` and `delete`."""

import io
import json
import os
import pty
import subprocess
import sys
import time
from pathlib import Path

import pytest
from kubernetes import client
from PIL import Image

from k8s.cluster.client import Cluster
from k8s.cluster.objects import Job
from k8s.release.release import Release
from tests.housekeeping.searches import Trained, write_search
from tests.integration.support import RUN_S, place, settings, space
from tests.k8s import captured
from tests.support.command_line import Finished, run_in_process
from tests.support.gcs_emulator import free_port
from tuner import names
from tuner.bucket.local import LocalBucket
from tuner.errors import ExitCode
from tuner.housekeeping import deletion

QUICK = [Trained(1.0, 0.90), Trained(1.0, 0.94)]
SLOW = [Trained(2.0, 0.80), Trained(3.0, 0.92), Trained(1.0, 0.91), Trained(4.0, 0.96)]


@pytest.fixture
def bucket(tmp_path: Path) -> LocalBucket:
    """A bucket with two finished studies."""
    bucket = LocalBucket(tmp_path / "bucket")
    write_search(bucket, "quick", QUICK, idle_hours=0.5, settings=["cost.per_worker_hour=2"])
    write_search(bucket, "slow", SLOW)
    return bucket


def command(name: str, bucket: LocalBucket, *arguments: str | Path) -> Finished:
    return run_in_process(name, *arguments, "--bucket", bucket.url)


# ---- studies ------------------------------------------------------------------------------------
def test_every_study_is_listed_with_score_worker_hours_and_size(bucket: LocalBucket) -> None:
    quick, slow = json.loads(command("studies", bucket, "--json").out)
    assert (quick["study"], quick["state"], quick["trials"]) == ("quick", "finished", "2 of 10")
    assert (quick["objective"], quick["best_trial"], quick["best_score"]) == ("val_accuracy", "00001", 0.94)
    assert (quick["worker_hours"], quick["cost"]) == (2.5, 5.0)
    assert quick["size_bytes"] == sum(
        (Path(bucket.url) / name).stat().st_size for name in bucket.list(names.study_prefix("quick"))
    )
    assert (slow["best_score"], slow["worker_hours"], slow["cost"]) == (0.96, 10.0, None)
    lines = [line.split() for line in command("studies", bucket).out.splitlines() if "finished" in line]
    assert [line[:2] + line[5:8] for line in lines] == [
        ["quick", "finished", "0.9400", "val_accuracy", "2.50"],
        ["slow", "finished", "0.9600", "val_accuracy", "10.00"],
    ]


def test_a_study_that_cannot_be_read_hides_no_other_one(bucket: LocalBucket) -> None:
    bucket.write(names.journal_segment("slow", 1), b"damaged")
    done = command("studies", bucket)
    assert done.code == ExitCode.DONE
    assert "unreadable" in done.out
    assert f"slow: {names.journal_segment('slow', 1)}: the journal segment has no valid header" in done.out
    quick, slow = json.loads(command("studies", bucket, "--json").out)
    assert (quick["best_score"], quick["problem"]) == (0.94, "")
    assert (slow["best_score"], slow["state"]) == (None, None)
    assert slow["size_bytes"] > 0


def test_what_is_left_of_a_study_without_a_journal_is_listed_with_the_way_to_delete_it(
    bucket: LocalBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deletion, "QUIET_S", 0)  # a chief may be about to begin it
    bucket.write(names.evaluation("gone", names.METRICS_JSON), b"{}")
    assert "gone: it has no journal. cifake-tune delete gone deletes what is left" in command("studies", bucket).out
    assert command("delete", bucket, "gone", "--yes").code == ExitCode.DONE
    assert list(bucket.list(names.study_prefix("gone"))) == []


def test_a_bucket_without_studies_says_so(tmp_path: Path) -> None:
    done = run_in_process("studies", "--bucket", tmp_path)
    assert (done.code, done.out) == (ExitCode.DONE, f"{tmp_path} has no study yet.\n")
    assert json.loads(run_in_process("studies", "--bucket", tmp_path, "--json").out) == []


# ---- compare ------------------------------------------------------------------------------------
def test_searches_are_compared_by_the_worker_hours_to_what_all_of_them_reached(bucket: LocalBucket) -> None:
    quick, slow = json.loads(command("compare", bucket, "quick", "slow", "--json").out)
    assert (quick["target"], slow["target"]) == (0.94, 0.94)
    assert (quick["worker_hours_to_target"], slow["worker_hours_to_target"]) == (2.0, 10.0)
    assert (quick["worker_hours"], quick["worker_hours_to_best"], quick["trials"]) == (2.5, 2.0, 2)
    steps = [(step["worker_hours"], step["value"]) for step in slow["curve"]]
    assert steps == [(2.0, 0.80), (5.0, 0.92), (10.0, 0.96)]  # the third trial improved nothing


def test_each_journal_is_read_once(bucket: LocalBucket, monkeypatch: pytest.MonkeyPatch) -> None:
    read = LocalBucket.read
    reads: list[str] = []

    def counted(self: LocalBucket, name: str) -> bytes:
        data = read(self, name)
        reads.append(name)
        return data

    monkeypatch.setattr(LocalBucket, "read", counted)
    assert command("compare", bucket, "quick", "slow", "--json").code == ExitCode.DONE
    assert sorted(reads) == [names.journal_segment("quick", 1), names.journal_segment("slow", 1)]


def test_a_damaged_study_is_not_compared(bucket: LocalBucket) -> None:
    bucket.create(names.journal_segment("slow", 3), bucket.read(names.journal_segment("quick", 1)))
    done = command("compare", bucket, "quick", "slow")
    assert (done.code, done.out) == (ExitCode.ENVIRONMENT, "")
    assert f"the journal segment {names.journal_segment('slow', 2)} is missing" in done.err


def test_the_comparison_is_a_table_and_a_picture(bucket: LocalBucket, tmp_path: Path) -> None:
    file = tmp_path / "both.png"
    done = command("compare", bucket, "quick", "slow", "--out", file)
    assert done.code == ExitCode.DONE, done.err
    rows = [line.split() for line in done.out.splitlines()]
    assert ["quick", "2", "0.9400", "2.50", "2.00", "2.00"] in rows
    assert ["slow", "4", "0.9600", "10.00", "10.00", "10.00"] in rows
    assert done.out.splitlines()[-1] == str(file)
    picture = Image.open(io.BytesIO(file.read_bytes()))
    assert picture.format == "PNG"
    colours = {colour for _, colour in picture.convert("RGB").getcolors(2**24) or []}
    assert {(0x1F, 0x66, 0xA8), (0xC2, 0x54, 0x1B)} <= colours  # both lines are drawn


def test_the_smaller_loss_is_the_better_one(tmp_path: Path) -> None:
    bucket = LocalBucket(tmp_path / "bucket")
    for study, losses in (("one", (0.5, 0.3, 0.4)), ("two", (0.6, 0.35))):
        write_search(bucket, study, [Trained(1, loss) for loss in losses], settings=["search.objective=val_loss"])
    one, two = json.loads(command("compare", bucket, "one", "two", "--json").out)
    assert (one["best"], one["worker_hours_to_best"], two["best"]) == (0.3, 2.0, 0.35)
    assert (one["target"], one["worker_hours_to_target"], two["worker_hours_to_target"]) == (0.35, 2.0, 2.0)


@pytest.mark.parametrize(
    ("studies", "error"),
    [
        (("quick",), "compare needs two or more studies"),
        (("quick", "quick"), "compare needs two or more studies"),
        (("quick", "missing"), "has no study 'missing'. Its studies: loss, new, old, quick, slow"),
        (("quick", "loss"), "has the objective val_loss (min), and 'quick' has val_accuracy (max)"),
        (("quick", "new"), "study 'new' has no score to compare yet"),
        (("quick", "old"), "study 'old' has no recorded worker-hours"),
    ],
)
def test_what_cannot_be_compared_is_refused(bucket: LocalBucket, studies: tuple[str, ...], error: str) -> None:
    write_search(bucket, "loss", [Trained(1, 0.5)], settings=["search.objective=val_loss"])
    write_search(bucket, "new", [])
    write_search(bucket, "old", [Trained(0, 0.5)])
    done = command("compare", bucket, *studies)
    assert (done.code, done.out) == (ExitCode.USAGE, "")
    assert error in done.err


def test_a_picture_that_cannot_be_written_is_an_error(bucket: LocalBucket, tmp_path: Path) -> None:
    done = command("compare", bucket, "quick", "slow", "--out", tmp_path / "missing" / "both.png")
    assert done.code == ExitCode.USAGE
    assert "both.png: the figure cannot be written (No such file or directory). Choose another --out." in done.err


# ---- delete -------------------------------------------------------------------------------------
def test_without_a_terminal_it_wants_to_be_told(bucket: LocalBucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    before = set(bucket.list())
    done = command("delete", bucket, "quick")
    assert (done.code, done.out) == (ExitCode.USAGE, "")
    assert "there is no terminal. Add --yes" in done.err
    assert set(bucket.list()) == before


def test_with_yes_it_deletes_the_study_only(bucket: LocalBucket) -> None:
    kept = set(bucket.list(names.study_prefix("slow")))
    done = command("delete", bucket, "quick", "--yes")
    assert done.code == ExitCode.DONE, done.err
    assert done.out.startswith("Deleted study quick: 3 objects, ")
    assert set(bucket.list()) == kept
    assert "has no study 'quick'. Its studies: slow" in command("delete", bucket, "quick", "--yes").err


@pytest.mark.parametrize(("answer", "is_deleted"), [("y", True), ("n", False), ("", False)])
def test_on_a_terminal_it_asks(bucket: LocalBucket, answer: str, is_deleted: bool) -> None:
    ours, theirs = pty.openpty()
    os.write(ours, f"{answer}\n".encode())
    program = [sys.executable, "-m", "cifake_tune", "delete", "quick", "--bucket", bucket.url]
    done = subprocess.run(program, stdin=theirs, capture_output=True, text=True, timeout=60, check=False)
    os.close(ours)
    os.close(theirs)
    assert done.returncode == ExitCode.DONE, done.stderr
    assert "Delete study quick (" in done.stdout
    assert ("Nothing was deleted." in done.stdout) is not is_deleted
    assert bucket.exists(names.journal_segment("quick", 1)) is not is_deleted


@pytest.mark.slow
def test_a_study_that_a_chief_serves_is_refused(tmp_path: Path) -> None:
    with place(tmp_path) as here:
        address = {names.ENV_ORACLE_IP: "127.0.0.1", names.ENV_ORACLE_PORT: str(free_port())}
        assert here.start("data", "prepare").wait().code == ExitCode.DONE
        chief = here.start("chief", *space("Tiny"), *settings(search__max_trials=1), **address)
        deadline = time.monotonic() + RUN_S
        while "listens on port" not in here.logs():
            assert time.monotonic() < deadline, here.logs()
            assert chief.process.poll() is None, here.logs()
            time.sleep(0.1)
        done = here.start("delete", here.study, "--yes").wait()
        assert done.code == ExitCode.USAGE
        assert "a chief is serving study 'cifake'" in done.err
        assert LocalBucket(tmp_path / "bucket").exists(names.journal_segment(here.study, 1))


# ---- of a release -------------------------------------------------------------------------------
@pytest.fixture
def release(bucket: LocalBucket, monkeypatch: pytest.MonkeyPatch) -> None:
    """The release `night`, with the bucket."""
    parts = json.loads((captured.FOLDER / "release.json").read_text(encoding="utf-8"))
    for job in parts["jobs"]:
        (container,) = job["spec"]["template"]["spec"]["containers"]
        kept = [v for v in container["env"] if v["name"] not in (names.ENV_BUCKET, names.ENV_EMULATOR)]
        container["env"] = [*kept, {"name": names.ENV_BUCKET, "value": bucket.url}]
    night = Release(
        name="night",
        cluster=Cluster(client.Configuration(), "kube-demo"),
        jobs=[Job.model_validate(job) for job in parts["jobs"]],
        deployments=[],
        pods=[],
        events=[],
    )

    def load(cluster: object, name: str) -> Release:
        assert (cluster, name) == ("kube-demo", "night")
        return night

    monkeypatch.setattr("k8s.cluster.client.connect", lambda namespace, context: namespace)
    monkeypatch.setattr("k8s.release.release.load", load)
    monkeypatch.setattr(Release, "study_name", lambda self: "quick")


OF_NIGHT = ("--release", "night", "--namespace", "kube-demo")


@pytest.mark.usefixtures("release")
def test_a_study_of_a_release_is_deleted_and_its_data_set_is_unused_then(bucket: LocalBucket) -> None:
    bucket.write(names.manifest("0" * 64), b"{}")
    assert run_in_process("clean", *OF_NIGHT).out == "Nothing is unused.\n"
    for study in "quick", "slow":
        done = run_in_process("delete", study, "--yes", *OF_NIGHT)
        assert done.code == ExitCode.DONE, done.err
    assert list(bucket.list()) == [names.manifest("0" * 64)]
    assert f"data set {'0' * 64} (2 bytes)" in run_in_process("clean", *OF_NIGHT).out
    assert run_in_process("clean", "--yes", *OF_NIGHT).code == ExitCode.DONE
    assert list(bucket.list()) == []


@pytest.mark.parametrize("arguments", [("delete", "quick", "--yes"), ("clean",)])
def test_options_of_a_release_need_a_release(bucket: LocalBucket, arguments: tuple[str, ...]) -> None:
    done = run_in_process(*arguments, "--bucket", bucket.url, "--namespace", "kube-demo")
    assert done.code == ExitCode.USAGE
    assert "--namespace has no effect without --release" in done.err
    done = run_in_process(*arguments, "--bucket", bucket.url, *OF_NIGHT)
    assert done.code == ExitCode.USAGE
    assert "--bucket has no effect with --release" in done.err
