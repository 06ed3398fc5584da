"""Studies that the program wrote before its files were moved (make_studies.py) are read, reported and resumed."""

import csv
import gzip
import hashlib
import io
import json
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import h5py
import keras_tuner  # noqa: F401  (whole: `predict` would import it without what other tests of this process need)
import pytest
from typer.testing import CliRunner

from tests.compatibility.conftest import HERE, STUDY, unpack
from tests.compatibility.make_studies import KILLED_AT, SETTINGS
from tests.integration.support import Done, Place, place
from tests.support.certificates import Authority, environment
from tests.support.evaluations import read_metrics
from tuner import names
from tuner.bucket import Bucket
from tuner.bucket.local import LocalBucket
from tuner.cli.app import app
from tuner.names import TrialId
from tuner.study import snapshots
from tuner.study.improvement import Improvement
from tuner.study.journal import read_records, read_study
from tuner.study.records import AttemptEnded, Leased, Opened, Outcome, Record, Reported, TrialState
from tuner.study.snapshots import newest
from tuner.study.state import StudyState
from tuner.study.work_time import ServedTime, WorkTime

RESUMED = TrialId("00001")
KEPT_BYTES = 200_000
MACHINE = re.compile(rb"(?<![\w.])/(?:tmp|root|home|Users)/")
"""Folders of the machine that made them."""


def answer(*arguments: str) -> str:
    """Return what a command prints."""
    done = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


@pytest.fixture
def where(finished_folder: Path) -> list[str]:
    """Options that name the finished study."""
    return ["--bucket", str(finished_folder / "bucket"), "--study", STUDY]


def test_both_studies_are_small_and_name_no_machine(finished_folder: Path, unfinished: LocalBucket) -> None:
    assert sum((HERE / f"{name}.tar.xz").stat().st_size for name in ("finished", "unfinished")) < KEPT_BYTES
    for folder in (finished_folder, Path(unfinished.url).parent):
        for file in folder.rglob("*"):
            assert file.is_dir() or not MACHINE.search(file.read_bytes())


def test_they_are_of_a_time_when_nothing_had_a_format(finished: LocalBucket, unfinished: LocalBucket) -> None:
    for bucket in (finished, unfinished):
        texts = [name for name in bucket.list("") if name.endswith((".json", ".jsonl"))]
        assert len(texts) > 15
        assert not [name for name in texts if b'"format":' in bucket.read(name)]


# ---- the finished study ---------------------------------------------------------------------------
def test_a_finished_study_is_read(where: list[str]) -> None:
    view = json.loads(answer("status", "--json", *where))
    assert (view["study"], view["state"], view["chiefs"]) == (STUDY, "finished", 2)
    assert (view["best_trial"], view["best_score"]) == (RESUMED, 0.360076904296875)
    trials = json.loads(answer("trials", "--json", *where))
    assert [(trial["trial_id"], trial["state"], trial["attempts"]) for trial in trials] == [
        ("00000", "COMPLETED", 1),
        ("00001", "COMPLETED", 2),
        ("00002", "STOPPED", 1),
        ("00003", "STOPPED", 1),
    ]
    assert [trial["epochs"] for trial in trials] == [8, 8, 2, 2]


def test_every_kind_of_record_of_it_is_read(finished: LocalBucket) -> None:
    kinds = {record.kind for record in read_records(finished, STUDY)}
    assert kinds == {"opened", "created", "leased", "reported", "attempt_ended", "ended", "finished"}


def test_it_is_reported_again(where: list[str], finished: LocalBucket, tmp_path: Path) -> None:
    answer("report", *where, "--out", str(tmp_path / "report.html"))
    page = (tmp_path / "report.html").read_text()
    metrics = read_metrics(finished, STUDY)
    assert metrics is not None
    assert metrics.format == "1.0"
    assert f"{100 * metrics.accuracy:.2f}" in page
    for text in (STUDY, RESUMED, "learning_rate", metrics.data_digest[:12], "exact_space:Exact"):
        assert text in page


def test_its_model_predicts(where: list[str], finished_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(finished_folder)  # where its `space.code` is
    image = finished_folder / "images" / "test" / "REAL" / "00.png"
    [predicted] = json.loads(answer("predict", str(image), "--json", *where))
    rows = answer("predict", str(image), *where)
    assert predicted["error"] is None
    assert predicted["prediction"] in rows
    assert predicted["warnings"] == []


def without_times(state: StudyState) -> StudyState:
    """Return the state without the times and results that a snapshot of 0.1.0 does not have."""
    trials = {key: replace(trial, leased=None, work=WorkTime()) for key, trial in state.trials.items()}
    return replace(state, began=None, opened=None, time=ServedTime(), improvement=Improvement(), trials=trials)


# ---- the unfinished study ---------------------------------------------------------------------------
def test_an_unfinished_study_is_read_from_its_snapshot_as_from_its_journal(
    unfinished: LocalBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    replayed = StudyState()
    for record in read_records(unfinished, STUDY):
        replayed.apply(record)
    assert newest(unfinished, STUDY) is None, "a snapshot of an older minor version is not used"
    assert read_study(unfinished, STUDY) == replayed
    monkeypatch.setattr(snapshots, "FORMAT", "1.0")  # the version that wrote it
    snapshot = newest(unfinished, STUDY)
    assert snapshot is not None
    unfinished.delete(names.journal_segment(STUDY, 1))
    assert without_times(read_study(unfinished, STUDY)) == without_times(replayed)
    trial = replayed.trials[RESUMED]
    assert (trial.state, trial.attempts, trial.last_epoch) == (TrialState.RUNNING, 1, KILLED_AT)


def rows(predictions: bytes) -> list[list[str]]:
    """Return the rows of predictions.csv.gz. The first version had no checksums, which are the last column now."""
    return list(csv.reader(gzip.decompress(predictions).decode().splitlines()))


def weights(bucket: Bucket, name: str) -> dict[str, str]:
    """Return the SHA-256 of every array of a saved model, of its weights and its optimizer."""
    descriptions: dict[str, str] = {}

    def add(path: str, item: object) -> None:
        if isinstance(item, h5py.Dataset):
            value = item[()]
            descriptions[path] = f"{value.dtype} {value.shape} {hashlib.sha256(value.tobytes()).hexdigest()}"

    with (
        zipfile.ZipFile(io.BytesIO(bucket.read(name))) as archive,
        h5py.File(io.BytesIO(archive.read("model.weights.h5"))) as arrays,
    ):
        arrays.visititems(add)
    return descriptions


def segments(bucket: Bucket) -> dict[str, bytes]:
    """Return the journal's segments by name, in their order."""
    return {name: bucket.read(name) for name in bucket.list(names.journal_prefix(STUDY))}


@dataclass(frozen=True)
class Resumed:
    """The unfinished study after a `run` that had certificates for its processes."""

    place: Place
    previous_records: list[Record]
    old_segments: dict[str, bytes]
    done: Done


@pytest.fixture(scope="module")
def resumed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Resumed]:
    folder = tmp_path_factory.mktemp("resumed")
    with place(unpack("unfinished", folder / "place"), STUDY) as resumed_place:
        previous_records, old_segments = resumed_place.records(), segments(resumed_place.bucket)
        settings = [argument for setting in SETTINGS for argument in ("--set", setting)]
        line = ("run", "--data", "images", "--workers", "1", *settings)
        files = Authority(folder / "certificates").issue("all", "127.0.0.1")
        done = resumed_place.do(*line, backend="jax", **environment(files))
        yield Resumed(resumed_place, previous_records, old_segments, done)


@pytest.mark.slow
def test_a_run_on_one_machine_uses_certificates_if_it_has_some(resumed: Resumed) -> None:
    """The rest of TLS is in tests/integration/test_tls.py."""
    assert resumed.done.code == 0, resumed.done.err
    log = (resumed.place.cache / "logs" / STUDY / "chief.log").read_text()
    assert "with TLS" in log


@pytest.mark.slow
def test_an_unfinished_study_is_resumed_after_the_last_saved_epoch_bit_for_bit(
    resumed: Resumed, finished: LocalBucket
) -> None:
    unfinished_place, previous_records, old_segments = resumed.place, resumed.previous_records, resumed.old_segments
    assert resumed.done.code == 0, resumed.done.err
    assert "Study compatible resumes (1 trials have ended)" in resumed.done.output

    after = unfinished_place.records()
    assert after[: len(previous_records)] == previous_records
    assert [type(record) for record in after[len(previous_records) :][:3]] == [Opened, AttemptEnded, Leased]
    lost = after[len(previous_records) + 1]
    assert isinstance(lost, AttemptEnded)
    assert (lost.trial, lost.attempt, lost.outcome) == (RESUMED, 1, Outcome.LOST)
    continued = [
        record for record in after[len(previous_records) :] if isinstance(record, Reported) and record.trial == RESUMED
    ]
    assert [(record.attempt, record.epoch) for record in continued] == [(2, epoch) for epoch in range(KILLED_AT + 1, 8)]

    new_segments = segments(unfinished_place.bucket)
    assert dict(list(new_segments.items())[: len(old_segments)]) == old_segments
    for data in list(new_segments.values())[len(old_segments) :]:
        assert all(json.loads(line)["format"] == "1.4" for line in data.splitlines())

    bucket, state, expected = unfinished_place.bucket, unfinished_place.state(), read_study(finished, STUDY)
    assert state.ended == expected.ended
    for trial_id, trial in expected.trials.items():
        actual = state.trials[trial_id]
        assert (actual.hyperparameters, actual.algorithm) == (trial.hyperparameters, trial.algorithm)
        assert (actual.state, actual.reason, actual.outcomes) == (trial.state, trial.reason, trial.outcomes)
        assert (actual.score, actual.best_epoch, actual.rungs) == (trial.score, trial.best_epoch, trial.rungs)
        assert actual.epochs == trial.epochs  # every metric of every epoch, with ==
    assert [trial.trial_id for trial in expected.best(2)] == [RESUMED, "00000"]
    for trial in expected.best(2):
        name = trial.checkpoint
        assert name is not None
        assert (name, weights(bucket, name)) == (state.trials[trial.trial_id].checkpoint, weights(finished, name))
    assert f"/{RESUMED}/2/" in str(expected.trials[RESUMED].checkpoint)

    metrics, was = read_metrics(bucket, STUDY), read_metrics(finished, STUDY)
    assert metrics is not None
    assert was is not None
    assert (metrics.best_trial, metrics.accuracy, metrics.confusion_matrix) == (
        was.best_trial,
        was.accuracy,
        was.confusion_matrix,
    )
    predictions = names.evaluation(STUDY, names.PREDICTIONS_CSV)
    assert [row[:4] for row in rows(bucket.read(predictions))] == rows(finished.read(predictions))
