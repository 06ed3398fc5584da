"""The report shows the trials that were trained again with other seeds, with their spread."""

import re
from dataclasses import replace

from tests.evaluation.reports import report_of
from tests.study.test_confirmation_views import confirmed
from tuner.evaluation.confirmed import confirmed_trials
from tuner.evaluation.result import Metrics
from tuner.report.charts.confirmation import confirmation_chart
from tuner.report.html_page import ReportContents, report_html

EN_DASH = "\N{EN DASH}"


def contents(repetitions: int = 6, best: str = "00003") -> ReportContents:
    """Return a report on a search whose trial 00003 has the best mean of its repetitions."""
    report, state = report_of(5), confirmed(repetitions=repetitions).state
    update = {"best_trial": best, "score": 0.8, "confirmation": confirmed_trials(state)}
    return replace(report, state=state, metrics=report.metrics.model_copy(update=update))


def text_of(page: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", page))


def test_the_report_has_a_table_of_the_repeated_trials_with_the_winner_first() -> None:
    text = text_of(report_html(contents()))
    assert "Trained again with other seeds" in text
    rows = [
        "00003 0.8000 0.7600 0.0141 0.7500 0.7700 2", "00002 0.7000 0.7200 0.0283 0.7000 0.7400 2",
        "00001 0.9000 0.6000 0.0000 0.6000 0.6000 2",
    ]  # fmt: skip
    places = [text.replace(EN_DASH, " ").replace("  ", " ").find(row) for row in rows]
    assert -1 not in places, text
    assert places == sorted(places)
    assert "by mean val_accuracy with other seeds (0.7600)" in text


def test_a_repetition_that_was_not_trained_to_its_end_is_counted_separately() -> None:
    assert "1 of 2" in text_of(report_html(contents(repetitions=4)))


def test_the_evaluated_repetition_is_named() -> None:
    report = contents()
    text = text_of(report_html(report))
    assert "repeats trial" not in text, "the winner's own model was evaluated"
    night = confirmed(repetitions=0)
    for score in (0.6, 0.95, 0.7, 0.6, 0.7, 0.74):
        night.train(score)
    changed = report.metrics.model_copy(update={"best_trial": "00006"})
    text = text_of(report_html(replace(report, state=night.state, metrics=changed)))
    assert "Trial 00006, which was evaluated, repeats trial 00003" in text


def test_a_search_without_repetitions_has_no_such_section() -> None:
    assert "other seeds" not in text_of(report_html(report_of(5)))


def test_the_chart_has_a_dot_for_each_score_and_a_line_at_each_mean() -> None:
    chart = confirmation_chart(confirmed_trials(confirmed(repetitions=4).state), "val_accuracy")
    assert chart.count("curve top") == 3, "one of the search for each trial"
    assert chart.count("curve good") == 4
    assert chart.count('class="best"') == 3
    assert "trial 00003 in the search: 0.8000" in chart


def test_metrics_json_has_the_numbers_and_reads_them_again() -> None:
    metrics = contents().metrics
    assert isinstance(metrics, Metrics)
    again = Metrics.model_validate_json(metrics.model_dump_json())
    assert again.confirmation == metrics.confirmation
    first = again.confirmation[0]
    assert (first.trial, first.score, first.scores, first.lowest, first.highest) == (
        "00003", 0.8, (0.75, 0.77), 0.75, 0.77,
    )  # fmt: skip
    assert first.best_training == "00003"
    old = metrics.model_dump(mode="json")
    del old["confirmation"]
    assert Metrics.model_validate(old).confirmation == (), "evaluations by earlier versions have none"
