"""Report, model card and summary of a space with its own data: its numbers, and nothing known of images only."""

import io
import re
from dataclasses import replace

import pytest
from rich.console import Console

from tests.evaluation.reports import report_of
from tests.evaluation.searches import HOSTILE
from tuner import names
from tuner.bucket.local import LocalBucket
from tuner.errors import DamagedResultError
from tuner.evaluation.own_result import OwnMetrics
from tuner.evaluation.result import EvaluationResult
from tuner.evaluation.result_files import read_metrics
from tuner.report.html_page import ReportContents, report_html
from tuner.report.model_card import model_card
from tuner.report.terminal.evaluation import summary

OF_IMAGES = ("accuracy", "onfusion", "alibration", "obustness", "By class", "mirror", "pixels", "ROC")


def own_report(results: dict[str, float], hostile: bool = False) -> ReportContents:
    """Return the report of a search whose space brings its data; hostile: markup wherever users name things."""
    contents = report_of(5, hostile=hostile)
    shared = {name: getattr(contents.metrics, name) for name in EvaluationResult.model_fields}
    shared |= {"data_digest": names.OWN_DATA, "objective": "val_mae", "verified": False}
    metrics = OwnMetrics(**shared, results=results, own_evaluate=True, samples=1234)
    assert contents.provenance is not None
    origin = contents.provenance.model_copy(update={"data": None})
    return replace(contents, metrics=metrics, provenance=origin, most_wrong=(), corrupted=())


def card_of(contents: ReportContents) -> str:
    assert contents.provenance is not None
    return model_card(contents.metrics, contents.provenance)


def printed(contents: ReportContents) -> str:
    out = io.StringIO()
    Console(file=out, width=80).print(summary(contents.metrics, "gs://bucket/prefix"))
    return out.getvalue()


def test_the_page_shows_the_numbers_of_the_space_and_nothing_of_images() -> None:
    page = report_html(own_report({"loss": 3.5, "mae": 0.25, "r2": float("nan")}))
    assert re.search(r'<p class="answer">0\.2500</p>', page), "the objective's value comes first"
    assert "evaluate() on 1,234 test samples" in page.replace("&#39;", "'")
    assert re.search(r'<th scope="row">r2</th><td>nan</td>', page)
    assert "brought by the space" in page
    assert "not verified" in page
    before_the_search = page[page.index("<body>") : page.index('<h2 id="search">')]
    assert [word for word in OF_IMAGES if word in before_the_search] == []
    assert "predictions.csv.gz" not in page


def test_the_model_card_and_the_summary_show_the_numbers_and_where_they_are_from() -> None:
    contents = own_report({"mae": 0.25, "exact matches": 0.875})
    for text in (card_of(contents), printed(contents)):
        assert "omputed by the space's evaluate() on 1,234 test samples" in text
        assert re.search(r"exact matches\W+0\.8750", text)
        assert "not verified" in text
        assert [word for word in OF_IMAGES if word in text] == []
    assert "The space brings its own data" in card_of(contents)
    assert names.PREDICTIONS_CSV not in printed(contents)


def test_names_of_numbers_are_text() -> None:
    contents = own_report({f"mae {HOSTILE}": 0.25, "a|b\n# heading": 1.0}, hostile=True)
    assert HOSTILE not in report_html(contents)
    card = card_of(contents)
    assert HOSTILE not in card
    assert "\n# heading" not in card


def test_metrics_json_is_read_by_its_kind(tmp_path_factory: pytest.TempPathFactory) -> None:
    bucket = LocalBucket(tmp_path_factory.mktemp("bucket"))
    contents, of_images = own_report({"mae": 0.25, "r2": float("-inf")}), report_of(3, ("results", "REAL")).metrics
    for metrics in (contents.metrics, of_images):
        name = names.evaluation(metrics.study, names.METRICS_JSON)
        bucket.write(name, metrics.model_dump_json().encode())
        assert read_metrics(bucket, metrics.study) == metrics
    bucket.write(name, b'{"results": {}}')
    with pytest.raises(DamagedResultError, match=r"metrics\.json is damaged"):
        read_metrics(bucket, of_images.study)
