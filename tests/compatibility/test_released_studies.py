"""The studies that release 0.1.0 wrote are read, reported, evaluated and resumed. For older ones, see test_studies."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from cifake_tune import open_study
from tests.compatibility.conftest import HERE, STUDY, results, unpack
from tests.compatibility.make_studies import KILLED_AT, SETTINGS
from tests.compatibility.test_studies import KEPT_BYTES, MACHINE, RESUMED, answer, rows, weights
from tests.integration.support import Done, Place, place
from tests.support.evaluations import read_metrics
from tuner import names
from tuner.bucket.local import LocalBucket
from tuner.study.journal import read_records, read_study
from tuner.study.records import TrialState
from tuner.study.state import StudyState

RELEASES = ("0.1.0",)
"""All releases before this one whose formats differ."""


def test_every_earlier_release_of_the_changelog_has_its_studies() -> None:
    changelog = (HERE.parents[1] / "CHANGELOG.md").read_text()
    released = re.findall(r"^## ([0-9.]+)", changelog, re.MULTILINE)
    assert {*RELEASES} <= {*released}
    for version in RELEASES:
        archives = [HERE / f"{name}-{version}.tar.xz" for name in ("finished", "unfinished")]
        assert sum(archive.stat().st_size for archive in archives) < KEPT_BYTES


@pytest.fixture(scope="module", params=RELEASES)
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def folder(version: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the finished study. Not to be changed."""
    return unpack(f"finished-{version}", tmp_path_factory.mktemp("finished"))


@pytest.fixture(scope="module")
def bucket(folder: Path) -> LocalBucket:
    return LocalBucket(folder / "bucket")


@pytest.fixture
def where(folder: Path) -> list[str]:
    """Options that name the finished study."""
    return ["--bucket", str(folder / "bucket"), "--study", STUDY]


def test_it_names_no_machine_and_every_record_has_its_format(folder: Path, bucket: LocalBucket) -> None:
    assert not [file for file in folder.rglob("*") if file.is_file() and MACHINE.search(file.read_bytes())]
    assert {record.format for record in read_records(bucket, STUDY)} == {"1.0"}
    assert b'"format":"1.0"' in bucket.read(names.journal_segment(STUDY, 1))


def test_it_is_read_by_commands_and_by_python(where: list[str], folder: Path) -> None:
    view = json.loads(answer("status", "--json", *where))
    assert (view["study"], view["state"], view["best_trial"]) == (STUDY, "finished", RESUMED)
    trials = json.loads(answer("trials", "--json", *where))
    assert [(trial["state"], trial["epochs"]) for trial in trials] == [
        ("COMPLETED", 8),
        ("COMPLETED", 8),
        ("STOPPED", 2),
        ("STOPPED", 2),
    ]
    study = open_study(str(folder / "bucket"), STUDY)
    assert (study.status.best_trial, len(study.trials)) == (RESUMED, 4)
    assert study.evaluation is not None
    assert study.evaluation.best_trial == RESUMED


def test_it_is_reported_and_its_model_predicts(
    where: list[str], bucket: LocalBucket, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer("report", *where, "--out", str(tmp_path / "report.html"))
    metrics = read_metrics(bucket, STUDY)
    assert metrics is not None
    page = (tmp_path / "report.html").read_text()
    for text in (f"{100 * metrics.accuracy:.2f}", RESUMED, "learning_rate", metrics.data_digest[:12]):
        assert text in page
    monkeypatch.chdir(folder)  # where its `space.code` is
    image = folder / "images" / "test" / "REAL" / "00.png"
    [predicted] = json.loads(answer("predict", str(image), "--json", *where))
    assert predicted["error"] is None


@dataclass(frozen=True)
class Resumed:
    """The unfinished study, which this version resumed and evaluated."""

    place: Place
    before: StudyState
    done: Done


@pytest.fixture(scope="module")
def resumed(version: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Resumed]:
    folder = unpack(f"unfinished-{version}", tmp_path_factory.mktemp("unfinished") / "place")
    with place(folder, STUDY) as where:
        before = where.state()
        settings = [argument for setting in SETTINGS for argument in ("--set", setting)]
        done = where.do("run", "--data", "images", "--workers", "1", *settings, backend="jax")
        yield Resumed(where, before, done)


@pytest.mark.slow
def test_the_unfinished_one_is_resumed_to_the_same_end_bit_for_bit(resumed: Resumed, bucket: LocalBucket) -> None:
    trial = resumed.before.trials[RESUMED]
    assert (trial.state, trial.last_epoch) == (TrialState.RUNNING, KILLED_AT)
    assert resumed.done.code == 0, resumed.done.err
    expected, actual = read_study(bucket, STUDY), resumed.place.state()
    assert results(actual) == results(expected)
    for trial in expected.best(2):
        assert trial.checkpoint is not None
        assert weights(resumed.place.bucket, trial.checkpoint) == weights(bucket, trial.checkpoint)


@pytest.mark.slow
def test_its_evaluation_is_the_same(resumed: Resumed, bucket: LocalBucket) -> None:
    metrics, was = read_metrics(resumed.place.bucket, STUDY), read_metrics(bucket, STUDY)
    assert metrics is not None
    assert was is not None
    assert (metrics.best_trial, metrics.confusion_matrix) == (was.best_trial, was.confusion_matrix)
    predictions = names.evaluation(STUDY, names.PREDICTIONS_CSV)
    now, then = (rows(each.read(predictions)) for each in (resumed.place.bucket, bucket))
    assert [row[:4] for row in now] == [row[:4] for row in then]
    report = resumed.place.bucket.read(names.evaluation(STUDY, names.REPORT_HTML))
    assert RESUMED.encode() in report
