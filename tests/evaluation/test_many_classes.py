"""An evaluation of 1,000 classes costs no more than its predictions and a few seconds, and its files stay small."""

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.evaluation.fixtures import metrics_of
from tests.evaluation.reports import report_of
from tuner.evaluation import scores
from tuner.evaluation.calibration import at_temperature, calibration, fit_temperature
from tuner.evaluation.predictions import predictions, read_csv_gz, to_csv_gz
from tuner.evaluation.resampling import bootstrap
from tuner.evaluation.result import Metrics
from tuner.evaluation.result_json import confusion_json, metrics_json
from tuner.evaluation.roc import roc_curves
from tuner.report.class_rows import MOST_ROWS
from tuner.report.html_page import report_html
from tuner.report.model_card import model_card

CLASSES = 1000
IMAGES = 3000
FEW_S = 8.0


@pytest.fixture(scope="module")
def drawn() -> tuple[np.ndarray, np.ndarray]:
    """Labels, and probabilities that are right for half of the images."""
    rng = np.random.default_rng(0)
    labels = np.arange(IMAGES) % CLASSES
    logits = rng.normal(0, 1, (IMAGES, CLASSES)).astype(np.float32)
    logits[np.arange(IMAGES), labels] += 3
    raised = np.exp(2 * logits)
    return labels, (raised / raised.sum(axis=1, keepdims=True)).astype(np.float64)


@pytest.fixture
def _few_seconds() -> Iterator[None]:
    began = time.process_time()
    yield
    assert time.process_time() - began < FEW_S


@pytest.mark.usefixtures("_few_seconds")
def test_all_scores_and_files_of_1000_classes_take_a_few_seconds(drawn: tuple[np.ndarray, np.ndarray]) -> None:
    labels, probabilities = drawn
    names = tuple(f"species {number:04}" for number in range(CLASSES))
    tested = predictions(probabilities)
    matrix = scores.confusion_matrix(labels, tested.predicted, CLASSES)
    assert scores.roc_auc(labels, probabilities) == pytest.approx(0.98, abs=0.02)
    calibrated = calibration(labels, probabilities, labels, probabilities)
    intervals = bootstrap(labels, probabilities, 1)
    assert roc_curves(labels, probabilities, names) == {}
    metrics = metrics_of(matrix, names).model_copy(update={"calibration": calibrated, "bootstrap": intervals})
    document = metrics_json(metrics)
    assert Metrics.model_validate_json(document) == metrics
    assert len(document) < 3_500_000
    assert len(document.splitlines()) < 10_000
    assert len(confusion_json(metrics)) < 8_000_000
    files = [f"{name}/1.jpg" for name in names] * (IMAGES // CLASSES)
    table = to_csv_gz(files, ["ab" * 32] * IMAGES, labels, tested, names)
    assert read_csv_gz(table, names).confusion_matrix() == metrics.confusion_matrix


@pytest.mark.usefixtures("_few_seconds")
def test_the_report_and_the_card_of_1000_classes_are_short(drawn: tuple[np.ndarray, np.ndarray]) -> None:
    labels, probabilities = drawn
    matrix = scores.confusion_matrix(labels, predictions(probabilities).predicted, CLASSES)
    study = report_of(3)
    metrics = metrics_of(matrix, tuple(f"species {number:04}" for number in range(CLASSES)))
    assert study.provenance is not None
    page = report_html(replace(study, metrics=metrics, corrupted=()))
    assert len(page) < 400_000
    assert "The 20 classes with the smallest F1, of 1,000." in page
    card = model_card(metrics, study.provenance)
    assert len(card.splitlines()) < 120
    assert sum(line.startswith("| species") for line in card.splitlines()) == MOST_ROWS
    assert "species 0019 and 980 more" in card


def test_the_fit_of_the_temperature_minimizes_the_loss_of_the_calibrated_probabilities(
    drawn: tuple[np.ndarray, np.ndarray],
) -> None:
    """The fit computes the loss by parts and without the probabilities of the other classes."""
    labels, probabilities = drawn
    few = slice(0, 300)
    best = fit_temperature(labels[few], probabilities[few]).best

    def loss(temperature: float) -> float:
        return scores.log_loss(labels[few], at_temperature(probabilities[few], temperature))

    assert loss(best) < min(loss(best * 0.97), loss(best * 1.03))


def test_the_area_under_the_curves_is_scikit_learns(drawn: tuple[np.ndarray, np.ndarray]) -> None:
    from sklearn.metrics import roc_auc_score

    labels, probabilities = drawn
    few: Any = probabilities[:, :5].round(3)  # with ties
    truth = labels % 5
    expected = np.mean([roc_auc_score(truth == index, few[:, index]) for index in range(5)])
    assert scores.roc_auc(truth, few) == pytest.approx(expected, abs=1e-12)
