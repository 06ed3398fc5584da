"""What is kept of where a model comes from, and the model card made of it."""

import re
from pathlib import Path

import pytest

from tests.evaluation.fixtures import metrics_of
from tests.evaluation.studies import STUDY, Night, brightness_model, pack_images
from tests.support.evaluations import evaluate
from tuner import names
from tuner.bucket.local import LocalBucket
from tuner.config.loading import parse
from tuner.config.settings import Study
from tuner.evaluation.provenance import Provenance
from tuner.names import TrialId
from tuner.report.model_card import model_card
from tuner.study.attempts import attempts_of, interrupted
from tuner.study.records import AttemptEnded, Created, Ended, Leased, Opened, Outcome, Record, Reported, TrialState

ONE = TrialId("00001")


def interrupted_trial() -> list[Record]:
    """One trial: preempted after an epoch, taken up by another worker under another chief, completed."""
    opened = {"study": Study(), "data": "d", "direction": "max", "writer": "w"}
    return [
        Opened(at=1, term=1, **opened),
        Created(at=2, trial=ONE, hyperparameters={"units": 8}, algorithm={}),
        Leased(at=3, trial=ONE, attempt=1, worker="w0", incarnation="i"),
        Reported(at=4, trial=ONE, attempt=1, epoch=0, metrics={"val_accuracy": 0.5}),
        AttemptEnded(at=5, trial=ONE, attempt=1, outcome=Outcome.PREEMPTED, reason="asked to stop\nmore"),
        Opened(at=6, term=2, **opened),
        Leased(at=7, trial=ONE, attempt=2, worker="w1", incarnation="i"),
        Reported(at=8, trial=ONE, attempt=2, epoch=1, metrics={"val_accuracy": 0.6}),
        Ended(at=9, trial=ONE, attempt=2, state=TrialState.COMPLETED, score=0.6, best_epoch=1),
    ]


def test_each_attempt_has_its_worker_its_epochs_and_its_end() -> None:
    history = attempts_of(interrupted_trial())
    first, second = history.attempts
    assert (first.worker, first.started, first.ended, first.how, first.epochs) == ("w0", 3, 5, "preempted", (0,))
    assert first.reason == "asked to stop"
    assert (second.worker, second.how, second.epochs) == ("w1", "completed", (1,))
    assert [interrupted(first), interrupted(second)] == [True, False]
    assert (history.chiefs, history.last) == ((1, 6), 9)


def test_an_attempt_without_an_end_still_runs() -> None:
    (attempt,) = attempts_of(interrupted_trial()[:4]).attempts
    assert (attempt.how, attempt.ended) == ("running", None)


@pytest.fixture
def evaluated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalBucket:
    monkeypatch.setenv(names.ENV_IMAGE, "registry/cifake-tune:v7")
    monkeypatch.setenv(names.ENV_REVISION, "abc123")
    bucket = LocalBucket(tmp_path / "bucket")
    night = Night(bucket, pack_images(bucket, tmp_path / "images", ("FAKE", "REAL")), Study(name=STUDY, seed=7))
    night.open()
    night.trial("0", 0.8, brightness_model(tmp_path / "m.keras"))
    night.finish()
    evaluate(bucket, STUDY, tmp_path / "cache")
    return bucket


def test_provenance_has_settings_data_code_and_packages(evaluated: LocalBucket) -> None:
    origin = Provenance.model_validate_json(evaluated.read(names.evaluation(STUDY, names.PROVENANCE_JSON)))
    assert parse(origin.study, "provenance.json") == Study(name=STUDY, seed=7)
    assert (origin.code.image, origin.code.revision) == ("registry/cifake-tune:v7", "abc123")
    assert origin.code.space == "tuner.spaces.seed:SeedSpace"
    assert re.fullmatch("[0-9a-f]{64}", origin.code.space_sha256 or "")
    assert origin.evaluator.packages["keras"] == origin.trained_with_keras
    assert origin.data is not None
    assert (origin.data.training_images, origin.data.validation_images, origin.data.test_images) == (54, 6, 60)
    (stage,) = origin.stages
    assert (stage.trial, stage.best_epoch, stage.first_epoch) == ("0", 1, 0)
    assert stage.metrics == {0: {"val_accuracy": pytest.approx(0.7)}, 1: {"val_accuracy": 0.8}}


def test_the_card_shows_what_users_named_as_they_named_it(evaluated: LocalBucket) -> None:
    origin = Provenance.model_validate_json(evaluated.read(names.evaluation(STUDY, names.PROVENANCE_JSON)))
    metrics = metrics_of([[5, 5], [2, 8]], ("<script>alert(1)</script>", "a|b"))
    metrics = metrics.model_copy(update={"hyperparameters": {"line\nbreak": "*bold* `code` [x](y)"}})
    card = model_card(metrics, origin)
    assert "<script>" not in card
    assert "\\<script\\>" in card
    assert "| a\\|b |" in card
    assert "| line break | \\*bold\\* \\`code\\` \\[x\\](y) |" in card
    assert all(line.count("|") - line.count("\\|") in (0, 3, 4, 5, 6) for line in card.splitlines())


def test_the_card_of_an_evaluation_that_measured_less_leaves_out_what_it_lacks(evaluated: LocalBucket) -> None:
    origin = Provenance.model_validate_json(evaluated.read(names.evaluation(STUDY, names.PROVENANCE_JSON)))
    card = model_card(metrics_of([[5, 5], [2, 8]], ("FAKE", "REAL")), origin)
    assert "65.00 %" in card
    for title in ("Calibration of", "Robustness to", "By object", "runner-up"):
        assert title not in card
