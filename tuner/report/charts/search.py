"""Charts of a search: scores in the order in which trials ended, learning curves, workers over time."""

from collections.abc import Sequence
from math import isfinite, nan

import numpy as np
from markupsafe import Markup

from tuner.report.charts.svg import FAR, Drawing, Point, Scale, short, span
from tuner.study.attempts import AttemptRecord, History
from tuner.study.objective import Objective
from tuner.study.progress import downsample
from tuner.study.records import TrialState
from tuner.study.state import StudyState
from tuner.study.trial import Trial

WIDE, NARROW = 800.0, 400.0
CURVES = 300
"""Maximum number of learning curves drawn besides the best, chosen evenly."""
BEST = 5
"""Number of best trials whose learning curves are marked."""
FEW = 200
"""Maximum number of dots that are drawn larger."""
FEW_VALUES = 20
"""Maximum number of values that an axis shows completely, however far apart they are."""
ROWS = 40
"""Maximum number of workers in the timeline."""
EACH_BAR = 300
"""Maximum number of attempts whose bars have texts. With more texts, the page would become too large."""

HOW = {
    "completed": "completed",
    "stopped": "stopped",
    "paused": "stopped",
    "preempted": "lost",
    "lost": "lost",
    "running": "running",
}
"""CSS class of an attempt by its outcome. All other outcomes have the class `failed`."""


def history_chart(state: StudyState) -> Markup:
    """Return the scores of the trials in the order in which they ended, with the best score so far."""
    ended = [state.trials[trial_id] for trial_id in state.ended]
    ended = [trial for trial in ended if trial.repeats is None]
    drawing = Drawing(WIDE, 280, "Score of each trial in the order in which trials ended, and the best so far")
    scores = [trial.score for trial in ended if trial.score is not None]
    y = Scale(*_without_outliers(scores, state.objective), 240, 12)
    x = Scale(1, max(2, len(ended)), 62, WIDE - 26, whole=True)
    drawing.left_axis(y, 62, WIDE - 26, lambda value: f"{value:z.4g}")
    drawing.bottom_axis(x, 246, lambda value: f"{value:,.0f}", "trials ended")
    best: list[Point] = []
    so_far, objective = nan, state.objective
    for number, trial in enumerate(ended, start=1):
        if trial.score is not None and objective.is_better(trial.score, so_far):
            so_far = trial.score
            best.append((x(number), y(so_far)))
    if best:
        drawing.steps([*best, (x(len(ended)), y(so_far))], "best")
    places: dict[TrialState, list[Point]] = {}
    for number, trial in enumerate(ended, start=1):
        height = 240.0 if trial.score is None else y(trial.score)
        places.setdefault(trial.state, []).append((x(number), height))
    for kind, points in sorted(places.items()):
        drawing.dots(points, f"{kind.value.lower()}{' few' if len(ended) <= FEW else ''}")
    return drawing.svg()


def curves_chart(state: StudyState) -> Markup:
    """Return the objective by epoch. The best trials are marked, and the others are drawn faintly."""
    objective = state.settings.search.objective
    trials = [trial for trial in state.suggested if trial.epochs]
    best = state.best_of(trials, BEST) or trials[:1]
    chosen = [trials[round(i)] for i in np.linspace(0, len(trials) - 1, min(CURVES, len(trials)))] if trials else []
    values = [metrics.get(objective, nan) for trial in trials for metrics in trial.epochs.values()]
    drawing = Drawing(NARROW, 280, f"{objective} by epoch, of {len(chosen)} trials; the best are marked")
    epochs = max((max(trial.epochs) + 1 for trial in trials), default=1)
    y = Scale(*_without_outliers(values, state.objective), 240, 12)
    x = Scale(1, max(2, epochs), 52, NARROW - 16, whole=True)
    drawing.left_axis(y, 52, NARROW - 16, lambda value: f"{value:z.4g}")
    drawing.bottom_axis(x, 246, lambda value: f"{value:g}", "epochs")
    single: list[Point] = []
    for trial in [*(trial for trial in chosen if trial not in best), *reversed(best)]:
        css = "curve top" if best and trial is best[0] else "curve good" if trial in best else "curve"
        points = [
            (x(epoch + 1), y(metrics[objective]))
            for epoch, metrics in sorted(trial.epochs.items())
            if isfinite(metrics.get(objective, nan))
        ]
        if len(points) == 1 and css == "curve":
            single += points
        elif len(points) == 1:
            drawing.dot(points[0], css, f"trial {trial.trial_id}")
        else:
            drawing.path(downsample(points, 100), css, f"trial {trial.trial_id}")
    drawing.dots(single, "queued")
    return drawing.svg()


def loss_chart(trial: Trial) -> Markup | None:
    """Return training and validation loss of a trial; None if it did not report both."""
    series = {
        name: [(e, m[name]) for e, m in sorted(trial.epochs.items()) if isfinite(m.get(name, nan))]
        for name in ("loss", "val_loss")
    }
    if not all(series.values()):
        return None
    drawing = Drawing(NARROW, 280, f"Training and validation loss of trial {trial.trial_id} by epoch")
    y = Scale(*span([value for values in series.values() for _, value in values]), 240, 12)
    x = Scale(1, max(2, max(trial.epochs) + 1), 52, NARROW - 16, whole=True)
    drawing.left_axis(y, 52, NARROW - 16, lambda value: f"{value:z.3g}")
    drawing.bottom_axis(x, 246, lambda value: f"{value:g}", "epochs")
    for css, values in zip(("curve good", "curve top"), series.values(), strict=True):
        points = [(x(epoch + 1), y(value)) for epoch, value in values]
        if len(points) == 1:
            drawing.dot(points[0], css, "")
        drawing.path(points, css)
    return drawing.svg()


def timeline_chart(history: History) -> Markup:
    """Return the timeline with a row per worker, a bar per attempt, and a dashed line at each later chief's start."""
    workers = sorted({attempt.worker for attempt in history.attempts}, key=_natural)
    rows = {worker: row for row, worker in enumerate(workers[:ROWS])}
    height = 44 + 18 * max(1, len(rows))
    drawing = Drawing(WIDE, height, f"Attempts of {len(workers)} workers over time")
    start = min((attempt.started for attempt in history.attempts), default=0.0)
    x = Scale(0, max(1.0, history.last - start), 110, WIDE - 14)
    for worker, row in rows.items():
        drawing.text((102, 17 + 18 * row), short(worker, 15), anchor="end")
        drawing.line((110, 22 + 18 * row), (WIDE - 14, 22 + 18 * row), "grid")
    attempts = [attempt for attempt in history.attempts if attempt.worker in rows]
    bars: dict[str, list[tuple[float, float, float, float]]] = {}
    for attempt in attempts:
        left = x(attempt.started - start)
        right = x((attempt.ended or history.last) - start)
        place = (left, 6.0 + 18 * rows[attempt.worker], max(0.8, right - left - 0.4), 13.0)
        css = f"bar {HOW.get(attempt.how, 'failed')}"
        if len(attempts) <= EACH_BAR:
            drawing.bar(*place, css, _about(attempt))
        else:
            bars.setdefault(css, []).append(place)
    for css, places in bars.items():
        drawing.bars(places, css)
    for chief in history.chiefs[1:]:
        drawing.line((x(chief - start), 2), (x(chief - start), height - 26), "chief")
    for tick in _round_times(x.high):
        drawing.text((x(tick), height - 8), _clock(tick), anchor="middle")
    return drawing.svg()


def _clock(seconds: float) -> str:
    """Return a round time in its shortest form."""
    if seconds % 60 or not seconds:
        return f"{seconds:g} s"
    return f"{seconds / 60:g} min" if seconds % 3600 and seconds < 36_000 else f"{seconds / 3600:.3g} h"


def _round_times(whole_s: float) -> list[float]:
    """Return about seven round times from 0 to `whole_s`."""
    steps = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 21_600, 43_200, 86_400)
    step = next(
        (candidate for candidate in steps if whole_s / candidate <= 7), 86_400 * round(whole_s / 86_400 / 6 + 1)
    )
    return [float(time) for time in np.arange(0, whole_s + 1e-9, step)]


def _about(attempt: AttemptRecord) -> str:
    words = attempt.how.replace("_", " ")
    title = f"trial {attempt.trial}, attempt {attempt.attempt}: {words}"
    return f"{title} ({attempt.reason})" if attempt.reason else title


def _without_outliers(values: Sequence[float], objective: Objective) -> tuple[float, float]:
    """Return the ends of an axis for the better nine tenths. Outliers are drawn on the edge of the axis."""
    finite = np.array([value for value in values if isfinite(value)]).clip(-FAR, FAR)
    if len(finite) <= FEW_VALUES:
        return span(finite.tolist())
    keys = np.array([objective.sort_key(value) for value in finite])
    kept = finite[keys <= np.quantile(keys, 0.9)]
    low, high = float(kept.min()), float(kept.max())
    # values just beyond the nine tenths are shown too
    near = finite[(finite >= low - (high - low)) & (finite <= high + (high - low))]
    return span(near.tolist())


def _natural(name: str) -> tuple[str, int]:
    head = name.rstrip("0123456789")
    return head, int(name[len(head) :][:15] or 0)
