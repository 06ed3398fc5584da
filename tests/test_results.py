"""The published results: each figure follows from the files beside it."""

import csv
import gzip
from pathlib import Path
from typing import Any

import pytest

from tests.support.modules import module_at
from tuner.config.loading import load
from tuner.evaluation.result import Metrics

ROOT = Path(__file__).parents[1]
STUDIES = sorted(path.parent for path in (ROOT / "docs" / "results").glob("*/metrics.json"))
READY = sorted({path.parent for path in (ROOT / "docs" / "results").glob("*/study.yaml")} - set(STUDIES))


def results_page() -> Any:
    return module_at(ROOT / "tools" / "results_page.py")


def test_the_page_is_what_its_files_make() -> None:
    assert (ROOT / "docs" / "results.md").read_text(encoding="utf-8") == results_page().page(), "run `make docs`"


@pytest.mark.parametrize("folder", STUDIES, ids=lambda folder: folder.name)
def test_an_accuracy_follows_from_the_predictions_of_every_test_image(folder: Path) -> None:
    metrics = Metrics.model_validate_json((folder / "metrics.json").read_bytes())
    with gzip.open(folder / "predictions.csv.gz", "rt", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len({row["name"] for row in rows}) == len(rows) == metrics.images == 20_000
    assert sum(row["label"] == row["prediction"] for row in rows) / len(rows) == metrics.accuracy
    counts = [
        [sum(row["label"] == truth and row["prediction"] == predicted for row in rows) for predicted in metrics.classes]
        for truth in metrics.classes
    ]
    assert counts == [list(row) for row in metrics.confusion_matrix]
    assert metrics.test_evaluations == 1


@pytest.mark.parametrize("folder", READY + STUDIES, ids=lambda folder: folder.name)
def test_the_settings_of_a_result_are_a_study_that_can_be_run(folder: Path) -> None:
    assert load(folder / "study.yaml").name == folder.name


def test_what_is_published_is_small() -> None:
    files = [path for path in (ROOT / "docs" / "results").rglob("*") if path.is_file()]
    assert max(path.stat().st_size for path in files) < 1 << 20
