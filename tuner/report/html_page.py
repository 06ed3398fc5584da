"""report.html: a study and its evaluation on one page that needs nothing else, the answer first."""

import base64
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

import tuner
from tuner import names
from tuner.evaluation.provenance import Provenance
from tuner.evaluation.result import Metrics
from tuner.report.calibration_text import calibration_line
from tuner.report.charts import evaluation, search
from tuner.report.charts.parallel_coordinates import parallel_chart
from tuner.report.importance import Importances, TooFew, importances
from tuner.report.rungs import rungs_of
from tuner.report.text import accuracy_line, counted, duration, interval, percent, score
from tuner.study.attempts import History, interrupted
from tuner.study.progress import epochs_saved
from tuner.study.records import TrialState, first_line
from tuner.study.state import StudyState

WIDEST_MATRIX = 12
"""Classes; of more, what is mixed up most is listed."""
MOST_CONFUSED = 12
TRIALS = 25
"""Listed in full; `cifake-tune trials` has all."""
FAILURES = 5


@dataclass(frozen=True)
class Contents:
    """What a report is made of. The pictures are PNGs."""

    metrics: Metrics
    provenance: Provenance | None
    """None of an evaluation by a version that did not write it."""
    state: StudyState
    history: History
    most_wrong: Sequence[bytes]
    disturbed: Sequence[Sequence[bytes]]
    """For each disturbance, one image of each class."""


def report_html(contents: Contents) -> str:
    """Return the page. All that users and models named is escaped, and a policy in it forbids scripts."""
    environment = Environment(
        loader=PackageLoader("tuner.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {
        "percent": percent, "interval": interval, "time": _time, "png": _png, "value": _value, "duration": duration,
        "score": score, "capitalize_first": lambda text: text[:1].upper() + text[1:],
    }  # fmt: skip
    css = files("tuner.report").joinpath("templates/report.css").read_text(encoding="utf-8")
    return environment.get_template("report.html.j2").render(
        css=Markup(css),  # noqa: S704  (our own file)
        m=contents.metrics,
        p=contents.provenance,
        state=contents.state,
        settings=contents.state.settings,
        version=tuner.__version__,
        counted=counted,
        accuracy_line=accuracy_line,
        **_evaluation(contents),
        **_search(contents),
        **_origin(contents),
    )


def _evaluation(contents: Contents) -> dict[str, Any]:
    metrics = contents.metrics
    confused = [
        (images, metrics.classes[truth], metrics.classes[prediction], images / sum(row))
        for truth, row in enumerate(metrics.confusion_matrix)
        for prediction, images in enumerate(row)
        if truth != prediction and images
    ]
    rows = metrics.robustness.disturbances if metrics.robustness else ()
    ends = evaluation.ends_of([row.accuracy_interval_95 for row in rows]) if rows else (0.0, 1.0)
    objects = metrics.objects or ()
    objects_ends = evaluation.ends_of([each.accuracy_interval_95 for each in objects]) if objects else (0.0, 1.0)
    chart = evaluation.interval_chart
    return {
        "wide_matrix": len(metrics.classes) > WIDEST_MATRIX,
        "confused": sorted(confused, key=lambda each: -each[0])[:MOST_CONFUSED],
        "roc": evaluation.roc_chart(metrics.roc_curves) if metrics.roc_curves else None,
        "roc_left_out": max(0, len(metrics.roc_curves or ()) - evaluation.COLOURS),
        "reliability": evaluation.reliability_chart(metrics.calibration, len(metrics.classes))
        if metrics.calibration
        else None,
        "disturbances": [
            (row, chart(row.accuracy, row.accuracy_interval_95, ends, rows[0].accuracy), images)
            for row, images in zip(rows, contents.disturbed or [()] * len(rows), strict=True)
        ],
        "objects": [
            (each, chart(each.accuracy, each.accuracy_interval_95, objects_ends, metrics.accuracy)) for each in objects
        ],
        "wrong": list(zip(metrics.most_wrong or (), contents.most_wrong, strict=False)),
        "calibration_line": calibration_line(metrics.calibration) if metrics.calibration else "",
        "newer": _newer(contents),
    }


def _newer(contents: Contents) -> str:
    """Return what to know of a search that went on after this evaluation."""
    best = contents.state.best(1)
    if best and best[0].trial_id != contents.metrics.best_trial:
        return f"The search has since found a better trial, {best[0].trial_id}; this evaluation is not of it."
    return ""


def _search(contents: Contents) -> dict[str, Any]:
    state = contents.state
    best_first = state.ranked(state.trials.values())
    found = importances(list(state.trials.values()), state.objective, state.settings.seed)
    order = [each.hyperparameter for each in found.of] if isinstance(found, Importances) else []
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
        "workers_left_out": max(0, len({each.worker for each in contents.history.attempts}) - search.ROWS),
        "parallel": parallel_chart(best_first, order, state.settings.search.objective, state.settings.seed),
        "importance": [] if isinstance(found, TooFew) else _importance_rows(found),
        "foretold": None if isinstance(found, TooFew) else found.foretold,
        "importance_trials": 0 if isinstance(found, TooFew) else found.trials,
        "no_importance": found.reason if isinstance(found, TooFew) else "",
        "rungs": rungs_of(state),
        "best_trials": best_first[:TRIALS],
        "scored": len(best_first),
        "columns": [name for name in hyperparameters if names.is_hyperparameter(name)],
        "failures": [(trial.trial_id, first_line(trial.reason)) for trial in failed[:FAILURES]],
        "failed": len(failed),
        "outcomes": dict(outcomes.most_common()),
        "interrupted": sum(interrupted(attempt) for attempt in contents.history.attempts),
        "attempts": len(contents.history.attempts),
        "again": sum(count - 1 for count in trained.values()),
        "saved": epochs_saved(state),
        "epochs": sum(len(trial.epochs) for trial in state.trials.values()),
        "elapsed": contents.history.last - min(contents.history.chiefs, default=contents.history.last),
        "began": min(contents.history.chiefs, default=None),
        "chiefs": len(contents.history.chiefs),
    }


def _counts_of(state: StudyState) -> dict[str, int]:
    """Return how many trials are in each state that there is one of."""
    found = {each: sum(trial.state is each for trial in state.trials.values()) for each in TrialState}
    return {each.value.lower(): count for each, count in found.items() if count}


def _importance_rows(found: Importances) -> list[tuple[str, float, Any]]:
    ends = min(0.0, *(each.interval_95[0] for each in found.of)), max(each.interval_95[1] for each in found.of)
    return [
        (each.hyperparameter, each.share, evaluation.interval_chart(each.share, each.interval_95, ends, 0.0))
        for each in found.of
    ]


def _origin(contents: Contents) -> dict[str, Any]:
    settings = contents.provenance.study if contents.provenance else {}
    return {"study_yaml": yaml.safe_dump(settings, sort_keys=False, allow_unicode=True) if settings else ""}


def _time(seconds: float | None) -> str:
    if seconds is None:
        return ""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _png(data: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(data).decode()}"


def _value(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
