"""What `status` prints about a study, as one line per fact."""

from collections.abc import Iterator

from tuner.report.terminal.search import ending_sentence, hyperparameters_text, model_line
from tuner.report.text import duration, score
from tuner.study.status import Activity
from tuner.study.views import FAULT, StudyView, local_time


def study_lines(view: StudyView) -> Iterator[tuple[str, str]]:
    """Yield the name and the text of each fact about a study."""
    yield "study", view.study
    yield "state", activity_line(view)
    if view.reason:
        yield "reason", view.reason
    counts = {
        running_label(view): view.running, "queued": view.queued, "paused": view.paused, "completed": view.completed,
        "stopped early": view.stopped, "failed": view.failed,
    }  # fmt: skip
    by_state = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
    yield "trials", f"{view.ended_trials} ended" + (f": {by_state}" if by_state else "")
    if view.confirmation:
        yield "confirmation", view.confirmation
    for budget in view.budgets:
        yield "budget", f"{budget.budget}: {budget.text}"
    if view.ending:
        yield "ending", ending_sentence(view.ending)
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


def running_label(view: StudyView) -> str:
    """Return what to call the trials that were leased to workers when the study was last recorded."""
    return "interrupted" if view.activity is Activity.FINISHED else "running"


def activity_line(view: StudyView) -> str:
    """Return whether the study runs, and what that is concluded from."""
    if view.activity is Activity.FINISHED:
        if view.state == FAULT:
            return "ended with a fault that every trial has"
        return "gave up; fix the cause, and give the same command again" if view.gave_up else "finished"
    leased = f"{view.running} trial{'' if view.running == 1 else 's'} leased to workers"
    paused = "" if view.paused_since is None else f"paused since {local_time(view.paused_since)}"
    if view.last_record_s is None:
        return f"{paused or view.activity.replace('_', ' ')} ({leased})"
    facts = f"last record {duration(view.last_record_s)} ago, {leased}"
    if view.activity is Activity.NOT_RUNNING:
        silent = "longer than its epochs take" if view.running else "so no worker is at work"
        resume = f" It is {paused}, so run cifake-tune resume, too." if paused else ""
        return f"not running ({facts}; {silent}). Start it again with the same command to continue.{resume}"
    if paused:
        return f"{paused} ({facts}). Continue it with cifake-tune resume."
    running = "running" if view.activity is Activity.RUNNING else "starting, waiting for workers, or stopped"
    return f"{running} ({facts})"
