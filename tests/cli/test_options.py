"""Options of several commands: a study by name or file, options that would have no effect, completion, Ctrl-C."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.command_line import run_in_process
from tuner import names
from tuner.bucket.local import LocalBucket
from tuner.cli import roles
from tuner.config.loading import load
from tuner.config.settings import Study
from tuner.errors import ExitCode
from tuner.names import TrialId
from tuner.study.journal import encode
from tuner.study.records import Created, Ended, Finished, Leased, ModelSizes, Opened, Record, Reported, TrialState

ROOT = Path(__file__).parents[2]
SIZES = ModelSizes(
    parameters=7_300_000, checkpoint_bytes=87_600_000, largest_parameters=24_000_000,
    largest_checkpoint_bytes=288_000_000,
)  # fmt: skip


def write_study(bucket: LocalBucket, name: str, *settings: str, at: float = 0.0) -> None:
    study = load(settings=[f"name={name}", *settings])
    trial = TrialId("00000")
    records: list[Record] = [
        Opened(at=at, term=1, writer="w", study=study, data="ab" * 32, direction="max", model_sizes=SIZES),
        Created(at=at, trial=trial, hyperparameters={"units": 30, "rate": 0.25}, algorithm={}),
        Leased(at=at, trial=trial, attempt=1, worker="worker-0", incarnation="i"),
        Reported(at=at, trial=trial, attempt=1, epoch=0, metrics={"val_accuracy": 0.5}),
    ]
    bucket.create(names.journal_segment(name, 1), encode(1, "w", records))


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalBucket:
    monkeypatch.chdir(tmp_path)
    folder = LocalBucket(tmp_path / "bucket")
    write_study(folder, "night", "seed=7", "search.max_trials=33")
    write_study(folder, "other")
    return folder


READERS = [("status",), ("trials",), ("logs", "0"), ("report",), ("predict", "a.png"), ("evaluate",)]


# ---- a study by its name or its file ------------------------------------------------------------------
@pytest.mark.parametrize("command", READERS, ids=lambda command: str(command[0]))
def test_every_reader_lists_the_studies_if_it_does_not_find_one(
    bucket: LocalBucket, command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(roles, "choose_backend", lambda: "tensorflow")
    for wrong in ("nigth", "studies/night"):
        done = run_in_process(*command, "--bucket", bucket.url, "--study", wrong)
        assert done.code == ExitCode.USAGE, done.err
        assert f"{bucket.url} has no study '{wrong}'. Its studies: night, other." in done.err


def test_an_empty_bucket_has_no_study_to_list(tmp_path: Path) -> None:
    done = run_in_process("status", "--bucket", tmp_path, "--study", "night")
    assert (done.code, "and no other study yet" in done.err) == (ExitCode.USAGE, True)


def test_a_reader_takes_the_file_of_a_study(bucket: LocalBucket, tmp_path: Path) -> None:
    file = tmp_path / "study.yaml"
    file.write_text("name: night\n")
    for chosen in ("night", file, "study.yaml"):
        done = run_in_process("status", "--bucket", bucket.url, "--study", chosen, "--json")
        assert json.loads(done.out)["study"] == "night"
    done = run_in_process("status", "--bucket", bucket.url, "--study", tmp_path / "gone.yaml")
    assert (done.code, done.err) == (ExitCode.USAGE, f"error: {tmp_path}/gone.yaml: no such file. Check the path.\n")


def test_a_folder_with_the_name_of_a_study_does_not_hide_it(bucket: LocalBucket, tmp_path: Path) -> None:
    (tmp_path / "night").mkdir()
    assert "night" in run_in_process("status", "--bucket", bucket.url, "--study", "night").out


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Study]:
    """The settings with which `run` would begin."""
    studies: list[Study] = []
    monkeypatch.setattr("tuner.local.run.run_study", lambda study, *_: studies.append(study))
    monkeypatch.setattr(roles, "choose_backend", lambda: "tensorflow")
    return studies


def test_run_continues_a_study_by_its_name_with_the_settings_it_began_with(
    bucket: LocalBucket, tmp_path: Path, started: list[Study]
) -> None:
    cache = {names.ENV_CACHE: str(tmp_path / "cache")}
    where = ("--bucket", bucket.url)
    done = run_in_process("run", *where, "--study", "night", "--set", "search.max_trials=40", environment=cache)
    assert done.code == 0, done.err
    assert (started[0].name, started[0].seed, started[0].search.max_trials) == ("night", 7, 40)


@pytest.mark.parametrize("command", ["run", "chief"])
def test_a_command_that_runs_a_study_lists_the_studies_if_it_finds_neither_file_nor_study(
    bucket: LocalBucket, command: str, started: list[Study]
) -> None:
    done = run_in_process(command, "--bucket", bucket.url, "--study", "nigth")
    assert done.code == ExitCode.USAGE
    assert "--study nigth: there is no such file, and" in done.err
    assert "Its studies: night, other." in done.err
    assert started == []


# ---- options without effect ---------------------------------------------------------------------------
@pytest.mark.parametrize(
    "command", [("status",), ("trials",), ("logs", "0"), ("report",), ("predict", "a.png")], ids=lambda c: str(c[0])
)
@pytest.mark.parametrize("option", ["--namespace", "--context"])
def test_an_option_of_a_cluster_needs_a_release(bucket: LocalBucket, command: tuple[str, ...], option: str) -> None:
    done = run_in_process(*command, "--bucket", bucket.url, "--study", "night", option, "x")
    assert (done.code, done.out) == (ExitCode.USAGE, "")
    assert done.err == f"error: {option} has no effect without --release. Add --release NAME.\n"


@pytest.mark.parametrize(
    ("command", "option"),
    [
        (("status", "--release", "r", "--bucket", "b"), "--bucket"),
        (("trials", "--release", "r", "--bucket", "b"), "--bucket"),
        (("logs", "--release", "r", "--json"), "--json"),
        (("logs", "--release", "r", "--study", "s"), "--study"),
        (("doctor", "--release", "r", "--bucket", "b"), "--bucket"),
        (("doctor", "--release", "r", "--chart", "c"), "--chart"),
        (("doctor", "--no-probe"), "--probe and --no-probe"),
        (("doctor", "--chart", "c"), "--chart"),
        (("doctor", "--set", "a=1", "--bucket", "b"), "--bucket"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_an_option_that_would_change_nothing_is_refused(command: tuple[str, ...], option: str) -> None:
    done = run_in_process(*command)
    assert done.code == ExitCode.USAGE
    assert done.err.startswith(f"error: {option} has no effect ")


def test_a_bucket_of_the_environment_does_not_forbid_a_release(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", "/nonexistent")
    done = run_in_process("trials", "--release", "r", environment={names.ENV_BUCKET: "b"})
    assert "has no effect" not in done.err


# ---- status -------------------------------------------------------------------------------------------
def test_status_says_that_a_study_does_not_run_and_what_it_concludes_that_from(bucket: LocalBucket) -> None:
    done = run_in_process("status", "--bucket", bucket.url, "--study", "night")
    assert done.code == 0, done.err
    facts = dict(line.split(maxsplit=1) for line in done.out.splitlines() if line[:1] != " ")
    assert facts["state"].startswith("not running (last record ")
    assert "1 trial leased to workers; longer than its epochs take)" in facts["state"]
    assert facts["trials"] == "0 of 33 ended: 1 running"
    assert facts["model"] == (
        "7.3 million parameters (87.6 MB per checkpoint) with the default hyperparameters, 24.0 million (288.0 MB) "
        "with the largest"
    )
    parsed = json.loads(run_in_process("status", "--bucket", bucket.url, "--study", "night", "--json").out)
    assert (parsed["state"], parsed["activity"], parsed["running"]) == ("unfinished", "not_running", 1)


def test_status_names_the_fault_that_ended_a_search(bucket: LocalBucket) -> None:
    study, trial, reason = load(settings=["name=faulty"]), TrialId("00000"), "every trial would fail: no loss"
    records: list[Record] = [
        Opened(at=0, term=1, writer="w", study=study, data="ab" * 32, direction="max"),
        Created(at=0, trial=trial, hyperparameters={}, algorithm={}),
        Leased(at=0, trial=trial, attempt=1, worker="worker-0", incarnation="i"),
        Ended(at=1, trial=trial, attempt=1, state=TrialState.FAILED, score=None, reason="no loss\ntraceback"),
        Finished(at=1, reason=f"{reason}\ntraceback", failed=True, shared_fault=True),
    ]
    bucket.create(names.journal_segment("faulty", 1), encode(1, "w", records))
    of_study = ("--bucket", bucket.url, "--study", "faulty")
    done = run_in_process("status", *of_study)
    assert done.code == 0, done.err
    lines = done.out.splitlines()
    assert [line.split(maxsplit=1) for line in lines[1:4]] == [
        ["state", "ended with a fault that every trial has"],
        ["reason", reason],
        ["trials", f"1 of {study.search.max_trials} ended: 1 failed"],
    ]
    assert not any(line.startswith("epochs") for line in lines)
    parsed = json.loads(run_in_process("status", *of_study, "--json").out)
    assert (parsed["state"], parsed["activity"], parsed["reason"]) == ("fault", "finished", reason)
    done = run_in_process("report", *of_study)
    assert done.code == ExitCode.USAGE
    assert f"no evaluation to report, because its search ended with a fault: {reason}" in done.err


# ---- completion and Ctrl-C ----------------------------------------------------------------------------
def start(*arguments: str, folder: Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    program = "import sys; from cifake_tune import main; sys.argv[0] = 'cifake-tune'; main()"
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("CIFAKE_TUNE_")}
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=folder,
        env={**inherited, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_a_shell_completes_commands_options_and_studies(bucket: LocalBucket, tmp_path: Path) -> None:
    named = {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "true"}  # the tests' own parent need not be a shell
    script = start("--show-completion", "bash", folder=tmp_path, **named)
    assert (script.returncode, script.stderr) == (0, "")
    assert "_CIFAKE_TUNE_COMPLETE=complete_bash" in script.stdout
    for words, expected in (
        ("cifake-tune stat", ["status"]),
        ("cifake-tune status --rel", ["--release"]),
        ("cifake-tune status --bucket bucket --study n", ["night"]),
    ):
        count = len(words.split()) - 1
        asked = {"_CIFAKE_TUNE_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(count)}
        done = start(folder=tmp_path, **asked)
        assert (done.returncode, done.stdout.split(), done.stderr) == (0, expected, "")


@pytest.mark.parametrize(("form", "start_of_line"), [("text", "The command was stopped."), ("json", '{"time"')])
def test_ctrl_c_is_no_error(
    bucket: LocalBucket, monkeypatch: pytest.MonkeyPatch, form: str, start_of_line: str
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("tuner.cli.status._state", interrupted)
    done = run_in_process("status", "--bucket", bucket.url, environment={names.ENV_LOG_FORMAT: form})
    assert done.code == ExitCode.PREEMPTED
    assert done.err.startswith(start_of_line)
    assert "error" not in done.err.lower()
