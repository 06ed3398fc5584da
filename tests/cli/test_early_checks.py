"""`chief` and `evaluate` refuse a wrong bucket, a missing study or data set before they import Keras."""

import os
import resource
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.data.images import data_set, write_folder
from tests.support.gcs_emulator import Emulator
from tuner import names
from tuner.bucket.local import LocalBucket
from tuner.cli import roles
from tuner.config.loading import load
from tuner.data.pack import pack
from tuner.errors import ExitCode
from tuner.names import TrialId
from tuner.study.journal import encode
from tuner.study.records import Created, Ended, Finished, Leased, Opened, Record, Reported, TrialState

Run = Callable[..., int]
DIGEST = "ab" * 32
CHIEF = {names.ENV_ORACLE_IP: "127.0.0.1", names.ENV_ORACLE_PORT: "1"}
PROGRAM = """
import sys
from tuner.cli.app import main
try:
    main()
finally:
    print([name for name in ("keras", "keras_tuner", "tensorflow", "jax") if name in sys.modules])
"""
BACKEND_CPU_S = 1.9
"""Processor seconds of the start of the backend that starts sooner, JAX; TensorFlow takes 5.9."""


@pytest.fixture(autouse=True)
def _no_keras(monkeypatch: pytest.MonkeyPatch) -> None:
    """Importing Keras is an internal error here."""

    def fail(**_: object) -> None:
        raise AssertionError("Keras is imported")

    monkeypatch.setattr(roles, "import_keras", fail)
    monkeypatch.setattr(roles, "importing_keras", fail)


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalBucket:
    folder = tmp_path / "bucket"
    for name, value in {**CHIEF, names.ENV_BUCKET: str(folder), names.ENV_CACHE: str(tmp_path / "cache")}.items():
        monkeypatch.setenv(name, value)
    for name in (names.ENV_DATA, names.ENV_DATA_WAIT_S, names.ENV_STUDY_FILE):
        monkeypatch.delenv(name, raising=False)
    return LocalBucket(folder)


def write_journal(bucket: LocalBucket, records: Sequence[Record]) -> None:
    bucket.create(names.journal_segment("cifake", 1), encode(1, "w", records))


OPENED = Opened(at=0, term=1, writer="w", study=load(), data=DIGEST, direction="max")
TRIAL = TrialId("00000")
SEARCHED = (
    OPENED,
    Created(at=0, trial=TRIAL, hyperparameters={}, algorithm={}),
    Leased(at=0, trial=TRIAL, attempt=1, worker="w", incarnation="1"),
    Reported(
        at=0, trial=TRIAL, attempt=1, epoch=0, metrics={"val_accuracy": 0.5},
        checkpoint=names.checkpoint("cifake", TRIAL, 1, 0),
    ),
    Ended(at=0, trial=TRIAL, attempt=1, state=TrialState.COMPLETED, score=0.5, best_epoch=0),
    Finished(at=0, reason="all trials have ended"),
)  # fmt: skip


def refused(run: Run, capsys: pytest.CaptureFixture[str], command: str, *arguments: str) -> tuple[int, str]:
    """Run a command that must fail; return its exit code and its error's text."""
    code = run(command, *arguments)
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    return code, error


def test_a_chief_without_a_data_set_says_how_to_pack_one(
    run: Run, capsys: pytest.CaptureFixture[str], bucket: LocalBucket
) -> None:
    code, error = refused(run, capsys, "chief")
    assert code == ExitCode.USAGE
    assert f"{bucket.url} has no data set. Add one with `cifake-tune data pack SOURCE BUCKET`." in error


def test_a_chief_whose_data_set_is_missing_names_it(
    run: Run, capsys: pytest.CaptureFixture[str], bucket: LocalBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(names.ENV_DATA, DIGEST)
    code, error = refused(run, capsys, "chief")
    assert code == ExitCode.USAGE
    assert f"{bucket.url}: has no data set {DIGEST}" in error


def test_a_chief_keeps_the_data_set_of_its_study_if_the_bucket_has_others(
    run: Run, capsys: pytest.CaptureFixture[str], bucket: LocalBucket
) -> None:
    for digest in ("cd" * 32, "ef" * 32):
        bucket.create(names.manifest(digest), b"{}")
    _, error = refused(run, capsys, "chief")
    assert "has 2 data sets" in error
    write_journal(bucket, SEARCHED[:2])
    code, error = refused(run, capsys, "chief")
    assert code == ExitCode.USAGE
    assert f"{bucket.url}: has no data set {DIGEST}" in error
    bucket.create(names.manifest(DIGEST), b"{}")
    _, error = refused(run, capsys, "chief")
    assert "Keras is imported" in error


def test_a_chief_does_not_begin_a_study_with_a_data_set_that_is_packed_otherwise(
    run: Run, capsys: pytest.CaptureFixture[str], bucket: LocalBucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = pack(str(write_folder(tmp_path / "source", data_set(train=2))), bucket)
    monkeypatch.setenv(names.ENV_DATA, packed.digest)
    code, error = refused(run, capsys, "chief", "--set", "data.resize=[4, 4]", "--set", "data.convert=true")
    assert code == ExitCode.USAGE
    assert f"data.resize and data.convert cannot be applied to the data set {packed.digest[:12]}" in error
    write_journal(bucket, [OPENED.model_copy(update={"data": packed.digest})])  # a study that has begun keeps it
    _, error = refused(run, capsys, "chief", "--set", "data.resize=[4, 4]")
    assert "Keras is imported" in error


def test_a_chief_whose_search_is_finished_needs_no_data_set(
    run: Run, capsys: pytest.CaptureFixture[str], bucket: LocalBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(names.ENV_DATA, DIGEST)
    write_journal(bucket, SEARCHED)
    _, error = refused(run, capsys, "chief")
    assert "Keras is imported" in error  # it goes on


def test_a_chief_that_waits_for_its_data_set_does_so_after_the_import(
    run: Run, capsys: pytest.CaptureFixture[str], bucket: LocalBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(names.ENV_DATA_WAIT_S, "600")
    _, error = refused(run, capsys, "chief")
    assert "Keras is imported" in error


@pytest.fixture
def own_data(monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings of a space that brings its own data."""
    monkeypatch.setenv(f"{names.ENV_SETTING}DATA__OWN", "true")
    monkeypatch.setenv(f"{names.ENV_SETTING}SPACE__IMPORT", "my_space:Mine")


@pytest.mark.usefixtures("own_data")
def test_a_chief_of_a_space_with_its_own_data_needs_no_data_set_and_waits_for_none(
    run: Run, capsys: pytest.CaptureFixture[str], bucket: LocalBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable, value in ((names.ENV_DATA, ""), (names.ENV_DATA_WAIT_S, "600"), (names.ENV_DATA, names.OWN_DATA)):
        monkeypatch.setenv(variable, value)
        _, error = refused(run, capsys, "chief")
        assert "Keras is imported" in error


@pytest.mark.usefixtures("own_data")
def test_a_chief_of_a_space_with_its_own_data_refuses_a_data_set(
    run: Run, capsys: pytest.CaptureFixture[str], bucket: LocalBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(names.ENV_DATA, DIGEST)
    code, error = refused(run, capsys, "chief")
    assert code == ExitCode.USAGE
    assert "data.own of the study says that the space brings its own data" in error


@pytest.mark.usefixtures("own_data")
def test_own_data_is_neither_packed_nor_chosen(
    run: Run, capsys: pytest.CaptureFixture[str], bucket: LocalBucket
) -> None:
    assert run("data", "prepare") == ExitCode.DONE
    assert "study cifake brings its own data (data.own), so nothing is packed" in capsys.readouterr().out
    assert not list(bucket.list(""))
    code, error = refused(run, capsys, "run", "--data", "photos")
    assert code == ExitCode.USAGE
    assert "so data.source would have no effect" in error


@pytest.mark.parametrize("command", ["chief", "evaluate"])
def test_a_bucket_that_is_a_file(
    run: Run, capsys: pytest.CaptureFixture[str], bucket: LocalBucket, command: str
) -> None:
    Path(bucket.url).write_text("a file")
    code, error = refused(run, capsys, command)
    assert code in (ExitCode.USAGE, ExitCode.ENVIRONMENT)
    assert bucket.url in error


@pytest.mark.parametrize("command", ["chief", "evaluate"])
def test_a_bucket_that_does_not_exist(
    run: Run, capsys: pytest.CaptureFixture[str], bucket: LocalBucket, command: str, emulator: Emulator,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", emulator.url)
    monkeypatch.setenv(names.ENV_BUCKET, "gs://no-such-bucket/prefix")
    code, error = refused(run, capsys, command)
    assert code == ExitCode.ENVIRONMENT
    assert "there is no bucket no-such-bucket" in error


def test_an_evaluation_of_a_bucket_without_a_study(
    run: Run, capsys: pytest.CaptureFixture[str], bucket: LocalBucket
) -> None:
    code, error = refused(run, capsys, "evaluate")
    assert code == ExitCode.USAGE
    assert f"{bucket.url} has no study yet." in error


def test_an_evaluation_of_a_study_that_the_bucket_does_not_have(
    run: Run, capsys: pytest.CaptureFixture[str], bucket: LocalBucket
) -> None:
    code, error = refused(run, capsys, "evaluate", "--study", "missing")
    assert code == ExitCode.USAGE
    assert "missing" in error


def test_an_evaluation_of_a_search_that_runs_is_to_be_tried_again(
    run: Run, capsys: pytest.CaptureFixture[str], bucket: LocalBucket
) -> None:
    write_journal(bucket, [OPENED])
    code, error = refused(run, capsys, "evaluate")
    assert code == ExitCode.ENVIRONMENT
    assert "The search of study 'cifake' has not ended" in error


def test_an_evaluation_whose_data_set_is_missing_names_it(
    run: Run, capsys: pytest.CaptureFixture[str], bucket: LocalBucket
) -> None:
    write_journal(bucket, SEARCHED)
    code, error = refused(run, capsys, "evaluate")
    assert code == ExitCode.USAGE
    assert f"{bucket.url}: has no data set {DIGEST}" in error


@pytest.mark.parametrize(("command", "text"), [("chief", "has no data set"), ("evaluate", "has no study yet")])
def test_the_process_ends_before_a_backend_would_have_started(bucket: LocalBucket, command: str, text: str) -> None:
    previous_usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM, command],
        env=os.environ,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert (ended.returncode, ended.stdout) == (ExitCode.USAGE, "[]\n"), ended.stderr
    assert text in ended.stderr
    assert usage.ru_utime + usage.ru_stime - previous_usage.ru_utime - previous_usage.ru_stime < BACKEND_CPU_S
