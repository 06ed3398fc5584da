"""The support matrix: it says what runs have recorded, and a run records what it tried."""

import datetime
import json
import platform
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.support.recorder import tried
from tools import support_page
from tools.support_page import BackendRun, BucketRun, ClusterRun, Record, SuiteRun

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "docs" / "results"
TODAY = datetime.datetime.now(datetime.UTC).date()


def test_the_page_of_support_is_up_to_date() -> None:
    page = support_page.page(support_page.read())
    assert (ROOT / "docs" / "support.md").read_text(encoding="utf-8") == page, "run `make docs`"


def test_each_published_study_in_the_record_has_these_versions_and_this_device() -> None:
    runs = [run for run in support_page.read().runs if isinstance(run, BackendRun) and run.study]
    assert runs
    for run in runs:
        folder = RESULTS / str(run.study)
        versions = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))["versions"]
        machine = json.loads((folder / "run.json").read_text(encoding="utf-8"))["machine"]
        assert (run.python, run.keras) == (versions["python"], versions["keras"])
        assert f"{run.backend} {run.backend_version}" == versions["backend"]
        assert run.device in machine


@pytest.mark.parametrize(
    ("test", "subjects"),
    [
        ("tests/integration/test_job.py::test_a[tensorflow]", {("suite", ""), ("backend", "tensorflow")}),
        ("tests/integration/test_job.py::test_a[3-jax]", {("suite", ""), ("backend", "jax")}),
        ("tests/bucket/test_contract.py::test_a[folder-a/b]", {("suite", ""), ("bucket", "folder")}),
        ("tests/bucket/test_gcs.py::test_a[gcs]", {("suite", "")}),
        ("tests/config/test_a.py::test_a[jax]", {("suite", "")}),
        ("tests/e2e/test_install.py::test_a[jax]", {("cluster", "")}),
    ],
)
def test_what_a_test_is_evidence_for(test: str, subjects: set[tuple[str, str]]) -> None:
    assert tried(test) == subjects


def test_the_tables_show_each_run_in_its_place_and_the_others_as_not_tried() -> None:
    when = {"date": TODAY, "commit": "0123abcd"}
    page = support_page.page(
        Record(runs=[]).with_runs([
            SuiteRun(**when, python="3.12.1", passed=5),
            BackendRun(**when, python="3.13.0", backend="jax", backend_version="0.6", keras="3.10", keras_tuner="1.4.8",
                       device="CPU", passed=6),
            BackendRun(**when, python="3.13.0", backend="jax", backend_version="0.6", keras="3.10", keras_tuner="1.4.8",
                       device="a GPU", passed=7),
            ClusterRun(**when, kubernetes="1.31.2", helm="3.19.0", image="jax-0", passed=8),
            BucketRun(**when, bucket="s3", passed=9),
        ])
    )  # fmt: skip
    yes, no = f"tried on {TODAY}", "not tried"
    for row in (
        f"| 3.11 | {no} | {no} | {no} | {no} | {no} |",
        f"| 3.12 | {yes} | {no} | {no} | {no} | {no} |",
        f"| 3.13 | {no} | {no} | {no} | {yes} | {yes} |",
        f"| 1.30 | {no} | {no} |",
        f"| 1.31 | {yes} | {no} |",
        f"| newer | {no} | {no} |",
        f"| `s3://` | versitygw | {yes} | 9 tests | {no} |",
        f"| `az://` | Azurite | {no} |  | {no} |",
    ):
        assert f"\n{row}\n" in page, row


def test_a_newer_run_replaces_the_one_of_the_same_minor_versions() -> None:
    older = SuiteRun(date=TODAY - datetime.timedelta(days=9), commit="a", python="3.12.1", passed=5)
    newer = SuiteRun(date=TODAY, commit="b", python="3.12.3", passed=5)
    other = SuiteRun(date=TODAY, commit="b", python="3.13.0", passed=5)
    assert Record(runs=[older]).with_runs([newer, other]).runs == [newer, other]


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with the recorder, and one test of each kind of bucket, of which that of folders can fail."""
    for name in (
        "tools/support_page.py",
        "tests/__init__.py",
        "tests/support/__init__.py",
        "tests/support/recorder.py",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "docs" / "results").mkdir(parents=True)
    (tmp_path / "docs" / "results" / "support.json").write_text('{"runs": []}')
    (tmp_path / "tests" / "bucket").mkdir()
    (tmp_path / "tests" / "bucket" / "test_contract.py").write_text(
        "import os, pytest\n"
        "@pytest.mark.parametrize('kind', ['folder', 'gcs'])\n"
        "def test_a_write_is_read(kind):\n"
        "    assert kind != os.environ.get('BROKEN')\n"
    )
    for command in (["init", "-q"], ["add", "."], ["-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "t"]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    return tmp_path


def record(repository: Path, broken: str) -> Record:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.support.recorder", "tests"]
    environment = {"BROKEN": broken, "PATH": "/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1"}
    subprocess.run([*command, "-p", "no:cacheprovider"], cwd=repository, env=environment, check=False)
    return Record.model_validate_json((repository / "docs" / "results" / "support.json").read_bytes())


def test_a_run_records_what_it_tried(repository: Path) -> None:
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=repository, capture_output=True, text=True, check=True)
    written = record(repository, broken="")
    assert [(run.subject, run.commit) for run in written.runs] == [
        (("bucket", "folder"), head.stdout[:8]),
        (("bucket", "gcs"), head.stdout[:8]),
    ]
    page = (repository / "docs" / "support.md").read_text()
    assert f"| a local folder | itself | tried on {written.runs[0].date} | 1 tests |" in page


def test_a_run_in_which_a_test_fails_records_nothing(repository: Path) -> None:
    assert record(repository, broken="gcs").runs == []


def test_a_backends_versions_are_those_of_its_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.support import recorder

    monkeypatch.delenv("CIFAKE_TUNE_JAX_PYTHON", raising=False)
    found = recorder.backend_versions("tensorflow")
    assert (found["python"], found["keras"]) == (platform.python_version(), version("keras"))
    assert found["backend_version"].count(".") == 2
