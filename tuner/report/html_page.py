"""report.html, a self-contained page about a study and its evaluation, which shows the result first."""

import base64
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from typing import Any

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

import tuner
from tuner import names
from tuner.evaluation.confirmed import confirmed_trials
from tuner.evaluation.own_result import AnyMetrics, OwnMetrics
from tuner.evaluation.provenance import Provenance
from tuner.evaluation.result import Metrics
from tuner.printable import LINES, printable
from tuner.report.calibration_text import calibration_line
from tuner.report.charts import evaluation, search
from tuner.report.charts.confirmation import confirmation_chart
from tuner.report.charts.parallel_coordinates import parallel_chart
from tuner.report.class_rows import class_rows, most_confused, omitted_classes
from tuner.report.importance import Importances, TooFew, importances
from tuner.report.rungs import rungs_of
from tuner.report.text import accuracy_line, counted, duration, interval, percent, score
from tuner.study.attempts import History, interrupted
from tuner.study.budgets import budget_uses
from tuner.study.progress import end_of_search, epochs_saved
from tuner.study.records import TrialState, first_line
from tuner.study.state import StudyState
from tuner.study.views import work_view

WIDEST_MATRIX = 12
"""Maximum number of classes shown as a matrix. With more, the most frequent confusions are listed."""
MOST_CONFUSED = 12
"""Number of confusions listed."""
TRIALS = 25
"""Number of best trials listed. `cifake-tune trials` lists all."""
FAILURES = 5
"""Number of failed trials listed with their reasons."""


@dataclass(frozen=True)
class ReportContents:
    """Contents of a report. Images are PNGs."""

    metrics: AnyMetrics
    provenance: Provenance | None
    """None if the evaluation was written by a version without provenance."""
    state: StudyState
    history: History
    most_wrong: Sequence[bytes]
    corrupted: Sequence[Sequence[bytes]]
    """For each corruption, one image per class."""


def report_html(contents: ReportContents) -> str:
    """Return the page. Every name from users and models is escaped, and a content policy forbids scripts."""
    css = files("tuner.report").joinpath("templates/report.css").read_text(encoding="utf-8")
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            css=Markup(css),  # noqa: S704  (our own file)
            m=contents.metrics,
            own=isinstance(contents.metrics, OwnMetrics),
            p=contents.provenance,
            state=contents.state,
            settings=contents.state.settings,
            version=tuner.__version__,
            counted=counted,
            accuracy_line=accuracy_line,
            outdated=_outdated_notice(contents),
            fault=_fault_notice(contents.state),
            **(_images(contents, contents.metrics) if isinstance(contents.metrics, Metrics) else {}),
            **_search(contents),
            **_origin(contents),
        )
    )


@cache  # keeps the compiled template, because compiling takes longer than rendering
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("tuner.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True, finalize=_masked,
    )  # fmt: skip
    environment.filters |= {
        "percent": percent, "interval": interval, "time": _time, "png": _png, "value": _value, "duration": duration,
        "score": score, "capitalize_first": lambda text: text[:1].upper() + text[1:],
    }  # fmt: skip
    return environment


def _masked(value: Any) -> Any:
    """Return a text without control characters. Markup has been made from masked and escaped text."""
    return printable(value, keep=LINES) if isinstance(value, str) and not isinstance(value, Markup) else value


def _images(contents: ReportContents, metrics: Metrics) -> dict[str, Any]:
    rows = metrics.robustness.disturbances if metrics.robustness else ()
    ends = evaluation.axis_ends([row.accuracy_interval_95 for row in rows]) if rows else (0.0, 1.0)
    objects = metrics.objects or ()
    objects_ends = evaluation.axis_ends([row.accuracy_interval_95 for row in objects]) if objects else (0.0, 1.0)
    chart = evaluation.interval_chart
    return {
        "wide_matrix": len(metrics.classes) > WIDEST_MATRIX,
        "confused": most_confused(metrics, MOST_CONFUSED) if len(metrics.classes) > WIDEST_MATRIX else [],
        "class_rows": class_rows(metrics),
        "omitted_classes": omitted_classes(metrics),
        "roc": evaluation.roc_chart(metrics.roc_curves) if metrics.roc_curves else None,
        "roc_left_out": max(0, len(metrics.roc_curves or ()) - evaluation.COLOURS),
        "reliability": evaluation.reliability_chart(metrics.calibration, len(metrics.classes))
        if metrics.calibration
        else None,
        "corruptions": [
            (row, chart(row.accuracy, row.accuracy_interval_95, ends, rows[0].accuracy), images)
            for row, images in zip(rows, contents.corrupted or [()] * len(rows), strict=True)
        ],
        "objects": [
            (row, chart(row.accuracy, row.accuracy_interval_95, objects_ends, metrics.accuracy)) for row in objects
        ],
        "wrong": list(zip(metrics.most_wrong or (), contents.most_wrong, strict=False)),
        "calibration_line": calibration_line(metrics.calibration) if metrics.calibration else "",
    }


def _outdated_notice(contents: ReportContents) -> str:
    """Return a notice if the search continued after this evaluation and found a better trial, else an empty text."""
    best = contents.state.best(1)
    if best and best[0].trial_id != contents.metrics.best_trial:
        return f"The search has since found a better trial, {best[0].trial_id}, which this evaluation does not cover."
    return ""


def _fault_notice(state: StudyState) -> str:
    """Return a notice if the search ended because of a fault that every trial shares, else an empty text."""
    return f"The search ended with a fault: {state.shared_fault}" if state.shared_fault else ""


def _search(contents: ReportContents) -> dict[str, Any]:
    state = contents.state
    best_first, confirmed = state.ranked(state.suggested), confirmed_trials(state)
    importance = importances(list(state.suggested), state.objective, state.settings.seed)
    order = [row.hyperparameter for row in importance.of] if isinstance(importance, Importances) else []
    outcomes = Counter(attempt.how for attempt in contents.history.attempts)
    trained = Counter((attempt.trial, epoch) for attempt in contents.history.attempts for epoch in attempt.epochs)
    hyperparameters = list(dict.fromkeys(name for trial in best_first[:TRIALS] for name in trial.hyperparameters))
    failed = [trial for trial in state.trials.values() if trial.state == "FAILED"]
    winner = state.trials.get(contents.metrics.best_trial)
    return {
        "counts": _counts_of(state),
        "history": search.history_chart(state) if state.ended else None,
        "curves": search.curves_chart(state),
        "loss": search.loss_chart(winner) if winner else None,
        "timeline": search.timeline_chart(contents.history),
        "workers_left_out": max(0, len({attempt.worker for attempt in contents.history.attempts}) - search.ROWS),
        "parallel": parallel_chart(best_first, order, state.settings.search.objective, state.settings.seed),
        "importance": [] if isinstance(importance, TooFew) else _importance_rows(importance),
        "predicted_share": None if isinstance(importance, TooFew) else importance.predicted_share,
        "importance_trials": 0 if isinstance(importance, TooFew) else importance.trials,
        "no_importance": importance.reason if isinstance(importance, TooFew) else "",
        "rungs": rungs_of(state),
        "confirmed": confirmed,
        "confirmation": confirmation_chart(confirmed, state.settings.search.objective) if confirmed else None,
        "best_trials": best_first[:TRIALS],
        "scored": len(best_first),
        "columns": [name for name in hyperparameters if names.is_hyperparameter(name)],
        "failures": [(trial.trial_id, first_line(trial.reason)) for trial in failed[:FAILURES]],
        "failed": len(failed),
        "outcomes": dict(outcomes.most_common()),
        "interrupted": sum(interrupted(attempt) for attempt in contents.history.attempts),
        "attempts": len(contents.history.attempts),
        "repeated": sum(count - 1 for count in trained.values()),
        "saved": epochs_saved(state),
        "epochs": sum(len(trial.epochs) for trial in state.trials.values()),
        "elapsed": contents.history.last - min(contents.history.chiefs, default=contents.history.last),
        "started": min(contents.history.chiefs, default=None),
        "chiefs": len(contents.history.chiefs),
        "end": end_of_search(state) if state.finished and state.ending and not state.finished.failed else "",
        "budgets": budget_uses(state),
        "work": work_view(state),
    }


def _counts_of(state: StudyState) -> dict[str, int]:
    """Return the number of trials in each state, without the states that no trial is in."""
    counts = {kind: sum(trial.state is kind for trial in state.trials.values()) for kind in TrialState}
    return {kind.value.lower(): count for kind, count in counts.items() if count}


def _importance_rows(importance: Importances) -> list[tuple[str, float, Any]]:
    rows = importance.of
    ends = min(0.0, *(row.interval_95[0] for row in rows)), max(row.interval_95[1] for row in rows)
    return [
        (row.hyperparameter, row.share, evaluation.interval_chart(row.share, row.interval_95, ends, 0.0))
        for row in rows
    ]


def _origin(contents: ReportContents) -> dict[str, Any]:
    settings = contents.provenance.study if contents.provenance else {}
    return {"study_yaml": yaml.safe_dump(settings, sort_keys=False, allow_unicode=True) if settings else ""}


def _time(seconds: float | None) -> str:
    if seconds is None:
        return ""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _png(data: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(data).decode()}"


def _value(value: Any) -> str:
    return f"{value:z.4g}" if isinstance(value, float) else str(value)
