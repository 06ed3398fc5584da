"""Evaluations of searches whose numbers are infinite, none or huge: nothing that was measured is lost to them."""

import json
import logging
from dataclasses import replace
from math import inf, isnan, nan
from pathlib import Path

import pytest

from tests.evaluation.conftest import Evaluated, copy_of
from tests.evaluation.studies import STUDY, Night, brightness_model, file
from tests.support.evaluations import evaluate, read_metrics
from tuner import names
from tuner.errors import PreemptedError
from tuner.evaluation.provenance import Provenance
from tuner.report.rebuild import make_report
from tuner.study.records import Value

HUGE = 10**400


@pytest.fixture(scope="module")
def searched_once(begun_once: Night, tmp_path_factory: pytest.TempPathFactory) -> Night:
    """Twelve trials, the last the best."""
    folder = tmp_path_factory.mktemp("searched")
    night = copy_of(begun_once, folder)
    model = brightness_model(folder / "m.keras")
    for number in range(12):
        values: dict[str, Value] = {"cap": (0.1, 1.0, inf)[number % 3], "big": (1e39, HUGE)[number % 2], "odd": nan}
        others = {"loss": nan, "val_loss": (inf, 1.7e308)[number % 2]}
        night.trial(f"{number:02d}", 0.5 + number / 100, model, values, others)
    night.finish()
    return night


@pytest.fixture(scope="module")
def evaluated_hostile(searched_once: Night, tmp_path_factory: pytest.TempPathFactory) -> Evaluated:
    folder = tmp_path_factory.mktemp("evaluated")
    night = copy_of(searched_once, folder)
    return Evaluated(night, evaluate(night.bucket, STUDY, folder / "cache"))


@pytest.fixture
def searched(searched_once: Night, tmp_path: Path) -> Night:
    """A copy of the search, without an evaluation."""
    return copy_of(searched_once, tmp_path)


@pytest.fixture
def hostile(evaluated_hostile: Evaluated, tmp_path: Path) -> Evaluated:
    """A copy of the search and its evaluation."""
    return replace(evaluated_hostile, night=copy_of(evaluated_hostile.night, tmp_path))


def test_a_search_over_infinite_and_huge_values_has_its_evaluation_and_its_page(hostile: Evaluated) -> None:
    assert hostile.metrics.not_made == ()
    assert "Importance" in file(hostile.night, names.REPORT_HTML).decode()
    assert "Importance" in make_report(hostile.night.bucket, STUDY)


def test_infinite_and_huge_values_are_read_back_as_they_were_written(hostile: Evaluated) -> None:
    metrics = read_metrics(hostile.night.bucket, STUDY)
    stage = Provenance.model_validate_json(file(hostile.night, names.PROVENANCE_JSON)).stages[-1]
    assert metrics is not None
    for values in (metrics.hyperparameters, stage.hyperparameters):
        assert (values["cap"], values["big"]) == (inf, HUGE)
        assert isnan(values["odd"])
    assert isnan(stage.metrics[0]["loss"])
    assert stage.metrics[1]["val_loss"] == 1.7e308


def test_a_provenance_in_which_null_stands_for_what_is_no_number_is_read(hostile: Evaluated) -> None:
    night = hostile.night
    old = json.loads(file(night, names.PROVENANCE_JSON))
    old["stages"][-1]["metrics"]["0"]["loss"] = None
    night.bucket.write(names.evaluation(STUDY, names.PROVENANCE_JSON), json.dumps(old).encode())
    assert "Provenance" in make_report(night.bucket, STUDY)


PICTURES = {
    names.CONFUSION_PNG: "confusion_matrix_png",
    names.CALIBRATION_PNG: "calibration_png",
    names.ROBUSTNESS_PNG: "robustness_png",
    names.MODEL_CARD: "model_card",
    names.REPORT_HTML: "report_html",
}


def test_a_picture_that_cannot_be_made_is_named_and_costs_nothing_else(
    hostile: Evaluated, cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    bucket, original = hostile.night.bucket, hostile.metrics
    bucket.delete(names.evaluation(STUDY, names.METRICS_JSON))

    def failing(*_: object) -> bytes:
        raise OverflowError("cannot convert float infinity to integer")

    for function in (*PICTURES.values(), "sheet"):
        monkeypatch.setattr(f"tuner.evaluator.artifacts.{function}", failing)
    with caplog.at_level(logging.ERROR):
        metrics = evaluate(bucket, STUDY, cache)
    missing = {*PICTURES, names.MOST_WRONG_PNG, names.ROBUSTNESS_SAMPLES_PNG}
    assert set(metrics.not_made) == missing
    written = read_metrics(bucket, STUDY)
    assert written is not None
    assert (written.not_made, written.accuracy) == (metrics.not_made, original.accuracy)
    file_names = {name.rsplit("/", 1)[1] for name in bucket.list(names.evaluation(STUDY))}
    assert file_names == {
        names.METRICS_JSON, names.PREDICTIONS_CSV, names.CONFUSION_JSON, names.PROVENANCE_JSON, names.BEST_MODEL,
    }, "none is left of the evaluation before"  # fmt: skip
    assert caplog.text.count("OverflowError: cannot convert") == len(missing)
    monkeypatch.undo()
    assert "Robustness" in make_report(bucket, STUDY), "its samples are missing, its numbers are not"


def test_a_preemption_amid_a_picture_is_no_picture_that_fails(
    searched: Night, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def preempted(*_: object) -> bytes:
        raise PreemptedError("asked to stop")

    monkeypatch.setattr("tuner.evaluator.artifacts.model_card", preempted)
    with pytest.raises(PreemptedError):
        evaluate(searched.bucket, STUDY, cache)
