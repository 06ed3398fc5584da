"""What `status` prints about a study, as one line per fact."""

from collections.abc import Iterator

from tuner.report.terminal.search import hyperparameters_text, model_line
from tuner.report.text import duration, score
from tuner.study.status import Activity
from tuner.study.views import FAULT, StudyView


def study_lines(view: StudyView) -> Iterator[tuple[str, str]]:
    """Yield the name and the text of each fact about a study."""
    yield "study", view.study
    yield "state", activity_line(view)
    if view.reason:
        yield "reason", view.reason
    counts = {
        "running": view.running, "queued": view.queued, "paused": view.paused, "completed": view.completed,
        "stopped early": view.stopped, "failed": view.failed,
    }  # fmt: skip
    by_state = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
    yield "trials", f"{view.ended_trials} ended" + (f": {by_state}" if by_state else "")
    if view.confirmation:
        yield "confirmation", view.confirmation
    for budget in view.budgets:
        yield "budget", f"{budget.budget}: {budget.text}"
    if view.ending:
        yield "ending", f"{view.ending} has ended, running trials stop after their epoch"
    if view.best_score is not None:
        yield "best", f"{view.objective} {score(view.best_score)}, trial {view.best_trial}"
        yield "", hyperparameters_text(view.best_hyperparameters or {})
    if view.elapsed_s is not None:
        yield "elapsed", duration(view.elapsed_s)
    if view.activity is Activity.RUNNING:
        yield "remaining", "not known yet" if view.remaining_s is None else f"about {duration(view.remaining_s)}"
    if view.work is not None:
        yield "worker-hours", view.work.total + (f" ({view.work.outcomes})" if view.work.outcomes else "")
    if view.epochs_trained or view.state != FAULT:
        yield "epochs", f"{view.epochs_trained} trained, {view.epochs_saved} saved by early stopping"
    if view.model_sizes is not None:
        yield "model", model_line(view.model_sizes).removeprefix("model: ")
    yield "algorithm", view.algorithm
    yield "data", view.data
    if view.chiefs > 1:
        yield "chiefs", f"{view.chiefs} so far"
    if view.problem:
        yield "problem", view.problem


def activity_line(view: StudyView) -> str:
    """Return whether the study runs, and what that is concluded from."""
    if view.activity is Activity.FINISHED:
        return "ended with a fault that every trial has" if view.state == FAULT else "finished"
    leased = f"{view.running} trial{'' if view.running == 1 else 's'} leased to workers"
    if view.last_record_s is None:
        return f"{view.activity.replace('_', ' ')} ({leased})"
    age = f"last record {duration(view.last_record_s)} ago"
    match view.activity:
        case Activity.RUNNING:
            return f"running ({age}, {leased})"
        case Activity.UNKNOWN:
            return f"starting, waiting for workers, or stopped ({age}, {leased})"
        case _:
            silent = "longer than its epochs take" if view.running else "so no worker is at work"
            return f"not running ({age}, {leased}; {silent}). Start it again with the same command to continue."
