"""Output of `run`, `status` and `trials` about a search: a table on a terminal, plain lines elsewhere."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from rich import box
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from tuner.printable import printable
from tuner.report.text import counted, duration, large, score, size
from tuner.study.budgets import budget_uses
from tuner.study.progress import by_interest, epochs_of, epochs_planned
from tuner.study.records import (
    Action,
    AttemptEnded,
    BudgetEnded,
    Controlled,
    Ended,
    Finished,
    Learned,
    Leased,
    ModelSizes,
    Opened,
    Paused,
    Record,
    Reported,
    Retried,
    TrialState,
    Value,
    Withdrawn,
    first_line,
)
from tuner.study.state import StudyState
from tuner.study.status import WorkerStatus
from tuner.study.trial import SCORED, Trial
from tuner.study.views import ending_line

NOT_VERIFIED = "(not verified)"
"""Mark of trials whose objective cannot be recomputed with the saved model."""
OTHER_COLUMNS = 50
"""Maximum width of the columns of the live table without the trial's id and the hyperparameters, with the spaces."""
MIN_ABOUT = 20
"""Minimum width of the column of hyperparameters for which lines are counted."""
REASON_CHARACTERS = 200
"""Maximum length of a failed trial's reason in the live table. `cifake-tune trials` prints all of it."""

STYLES = {
    TrialState.QUEUED: "dim",
    TrialState.PAUSED: "blue",
    TrialState.RUNNING: "cyan",
    TrialState.COMPLETED: "green",
    TrialState.STOPPED: "yellow",
    TrialState.FAILED: "red",
}


def search_view(
    state: StudyState, workers: Sequence[WorkerStatus], elapsed_s: float, remaining_s: float | None, rows: int
) -> RenderableType:
    """Return the live view of a search, for a terminal of 80 columns or more. Its trials have at most `rows` lines."""
    parts: list[RenderableType] = [_headline(state, elapsed_s, remaining_s), _FittingTable(state, workers, rows)]
    ending = ending_line(state) or (state.ending.reason if state.ending and state.finished else "")
    facts = [f"{use.budget}: {use.text}" for use in budget_uses(state)] + ([ending_sentence(ending)] if ending else [])
    if facts:
        parts.append(Text("  ".join(facts), style="dim"))
    parts += [*_news(state), *(Text(line, style="yellow") for line in problem_lines(workers).values())]
    return Group(*parts) if state.finished else Group(*parts, workers_line(workers, state.settings.data.own))


@dataclass(frozen=True)
class _FittingTable:
    """A table of as many trials as fit into `rows` lines. Hyperparameters are wrapped and never cut."""

    state: StudyState
    workers: Sequence[WorkerStatus]
    rows: int

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the table. Rich calls this with the width of the terminal."""
        trials = by_interest(self.state)
        width = max(MIN_ABOUT, options.max_width - OTHER_COLUMNS - max((len(t.trial_id) for t in trials), default=0))
        count = lines = 0
        for trial in trials[: self.rows]:
            lines += len(_about(trial, cut=True).wrap(console, width))
            if lines > self.rows and count:
                break
            count += 1
        yield _table(self.state, self.workers, trials[:count], cut=True)


def trials_table(state: StudyState) -> Table:
    """Return a table of all trials: running trials first, then the best, then the others."""
    return _table(state, (), by_interest(state), cut=False)


def _table(state: StudyState, workers: Sequence[WorkerStatus], trials: Sequence[Trial], cut: bool) -> Table:
    """Return a table of these trials, whose last row says how many trials are left out."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, expand=cut)
    table.add_column("trial", no_wrap=True)
    table.add_column("state", no_wrap=True)
    table.add_column("epochs", no_wrap=True)
    table.add_column(
        printable(state.settings.search.objective.removeprefix("val_")[:12]), justify="right", no_wrap=True
    )
    rungs = state.settings.search.early_stopping.has_rungs and not cut
    if rungs:
        table.add_column("rung", justify="right", no_wrap=True)
    table.add_column("hyperparameters", overflow="fold", ratio=1 if cut else None)
    worker_of = {worker.trial: worker for worker in workers if worker.trial}
    best = {trial.trial_id for trial in state.best()}
    for trial in trials:
        value = trial.score if trial.score is not None else _newest(state, trial)
        table.add_row(
            Text(trial.trial_id, style="bold" if trial.trial_id in best else ""),
            Text(trial.state.value.lower(), style=STYLES[trial.state]),
            _epochs(state, trial, worker_of.get(trial.trial_id)),
            Text("" if value is None else score(value), style="bold green" if trial.trial_id in best else ""),
            *([str(max(trial.rungs, default=""))] if rungs else []),
            _about(trial, cut),
        )
    if len(state.trials) > len(trials):
        table.add_row("…", Text(f"{len(state.trials) - len(trials)} more", style="dim"), "", "", "")
    return table


def problem_lines(workers: Iterable[WorkerStatus]) -> dict[str, str]:
    """Return a line for each worker that waits because bucket, disk or network fails, by the worker's name."""
    return {
        worker.worker: printable(f"{worker.worker} waits: {worker.problem}") for worker in workers if worker.problem
    }


def describe(trial: Trial) -> str:
    """Return a trial's hyperparameters in one line."""
    return hyperparameters_text(trial.chosen)


def hyperparameters_text(values: Mapping[str, Value]) -> str:
    """Return hyperparameters in one line."""
    return printable(
        " ".join(
            f"{name}={value:g}" if isinstance(value, float) else f"{name}={value}" for name, value in values.items()
        )
    )


def lines(state: StudyState, records: Iterable[Record]) -> Iterable[str]:
    """Yield a plain line for each record of interest to users."""
    for record in records:
        if isinstance(record, Opened):
            yield from map(printable, record.notes)
        if line := _trial_line(state, record) or _study_line(record) or _request_line(record):
            yield line


def _trial_line(state: StudyState, record: Record) -> str | None:
    match record:
        case Leased():
            attempt = f" (attempt {record.attempt})" if record.attempt > 1 else ""
            trial = state.trials[record.trial]
            about = describe(trial) if trial.repeats is None else f"repeats trial {trial.repeats} with another seed"
            return f"trial {record.trial} starts on {record.worker}{attempt}: {about}"
        case Reported():
            epoch, objective = record.epoch + 1, state.settings.search.objective
            share = _share(state, state.trials[record.trial], epoch)
            return f"trial {record.trial} epoch {share}: {objective} {score(record.metrics[objective])}"
        case AttemptEnded() | Paused():
            return f"trial {record.trial} {_interruption(state, record)} {first_line(record.reason)}"
        case Ended() if not state.trials[record.trial].ended_waiting:  # else the line of the search's end follows
            return _ended_line(state, record)
        case Withdrawn():
            return f"trial {record.trial} {_stopped(record)}, with the score {score(record.score)}"
        case _:
            return None


def _interruption(state: StudyState, record: AttemptEnded | Paused) -> str:
    """Return what has happened to a trial that has not ended. No worker takes it if the search ends."""
    if isinstance(record, Paused):
        return "paused at"
    over = state.ending is not None or state.finished is not None
    waits = state.trials[record.trial].state is TrialState.QUEUED
    return "is interrupted:" if over and waits else "returns to the queue:"


def _study_line(record: Record) -> str | None:
    match record:
        case Opened(model_sizes=ModelSizes() as sizes):
            return model_line(sizes)
        case Retried():
            noun = "trial is" if len(record.trials) == 1 else "trials are"
            return f"the search had given up; {len(record.trials)} failed {noun} tried again"
        case Learned():
            studies = ", ".join(dict.fromkeys(trial.study for trial in record.trials))
            return f"the search learns from {len(record.trials)} earlier trials: {printable(studies)}"
        case BudgetEnded():
            return f"{record.reason} has ended: no trial starts, running trials stop after their epoch"
        case Finished():
            return f"the search {'was' if record.budget else 'has ended:'} {first_line(record.reason)}"
        case _:
            return None


def _request_line(record: Record) -> str | None:
    match record:
        case Controlled(action=Action.PAUSE, refusal=""):
            return "the search is paused: no trial starts, running trials are handed back after their epoch"
        case Controlled(action=Action.RESUME, refusal=""):
            return "the search continues after its pause"
        case Controlled(action=Action.STOP, refusal=""):
            return _stop_line(record)
        case Controlled(refusal=""):
            return f"cifake-tune enqueue: the next trial is {hyperparameters_text(record.hyperparameters)}"
        case _:
            return None


def _stop_line(record: Controlled) -> str:
    match record.trials:
        case ():
            return "the search ends by cifake-tune stop; running trials stop after their epoch"
        case (trial,):
            return f"trial {trial} was stopped by a user; it ends after its epoch"
        case trials:
            return f"trials {', '.join(trials)} were stopped by a user; each ends after its epoch"


def ending_sentence(ending: str) -> str:
    """Return what happens because a budget or a command has ended the search (StudyView.ending)."""
    return f"ended by {ending}; running trials stop after their epoch"


def _ended_line(state: StudyState, end: Ended) -> str:
    """Return how a trial ended, and if it has a score, the progress of the search."""
    if end.state is TrialState.FAILED:
        return f"trial {end.trial} failed: {first_line(end.reason)}"
    best = state.best()
    so_far = f"; best so far {score(best[0].score)} (trial {best[0].trial_id})" if best else ""
    is_stopped = end.state is TrialState.STOPPED
    done = _stopped(end) if is_stopped else f"completed: {state.settings.search.objective} {score(end.score)}"
    count, total = len(state.ended), state.planned_trials
    trials = counted(count, "trial") if total is None else f"{count} of {total} trials"
    return f"trial {end.trial} {done}; {trials}{so_far}"


def _stopped(end: Ended | Withdrawn | Trial) -> str:
    """Return where or why a trial was stopped."""
    return f"stopped, {end.reason}" if end.budget else f"stopped at {end.reason}"


def model_line(sizes: ModelSizes) -> str:
    """Return how large the space's models are."""
    default = f"model: {large(sizes.parameters)} parameters ({size(sizes.checkpoint_bytes)} per checkpoint)"
    if sizes.largest_parameters is None or sizes.largest_checkpoint_bytes is None:
        return f"{default} with the default hyperparameters"
    largest = f"{large(sizes.largest_parameters)} ({size(sizes.largest_checkpoint_bytes)})"
    return f"{default} with the default hyperparameters, {largest} with the largest"


def _headline(state: StudyState, elapsed_s: float, remaining_s: float | None) -> Text:
    failed = sum(trial.state is TrialState.FAILED for trial in state.trials.values())
    stopped = sum(trial.state is TrialState.STOPPED for trial in state.trials.values())
    paused = sum(trial.state is TrialState.PAUSED for trial in state.trials.values())
    best, total = state.best(), state.planned_trials
    line = Text.assemble(
        (state.settings.name, "bold"),
        f"  {len(state.ended)}" + ("" if total is None else f"/{total}"),
        (" trials", "dim"),
        ("  search paused" if state.control.is_paused else "", "bold yellow"),
        (f"  {paused} paused" if paused else "", "blue"),
        (f"  {stopped} stopped" if stopped else "", "yellow"),
        (f"  {failed} failed" if failed else "", "red"),
        ("  best ", "dim"),
        (score(best[0].score if best else None), "bold green"),
        ("  elapsed ", "dim"),
        duration(elapsed_s),
    )
    if state.repetitions:
        ended = sum(state.trials[trial_id].ended is not None for trial_id in state.repetitions)
        line.append_text(Text(f"  {ended}/{len(state.repetitions)} repetitions", style="cyan"))
    if remaining_s is not None:
        line.append_text(Text.assemble(("  left ", "dim"), duration(remaining_s)))
    return line


def _news(state: StudyState) -> list[Text]:
    """Return why the trial that ended last was stopped early; nothing if it was not stopped."""
    last = state.trials[state.ended[-1]] if state.ended else None
    if last is None or last.state is not TrialState.STOPPED:
        return []
    return [Text(f"{last.trial_id} {_stopped(last)}", style="yellow")]


def workers_line(workers: Sequence[WorkerStatus], own_data: bool) -> Text:
    """Return what the first workers do, in one line. Data of the space's own (`data.own`) has samples, not images."""
    if not workers:
        return Text("waiting for workers", style="dim")
    parts, unit = [], "samples" if own_data else "images"
    have_gpus = any(worker.gpus for worker in workers)
    for worker in workers[:6]:
        rate = f"{worker.images_per_s:,.0f} {unit}/s" if worker.trial and worker.images_per_s else "starting"
        device = f" on {printable(worker.device)}" if have_gpus and worker.device else ""
        parts.append(f"{worker.worker}: {rate if worker.trial else 'idle'}{device}")
    more = f" and {len(workers) - 6} more" if len(workers) > 6 else ""
    return Text(" · ".join(parts) + more, style="dim")


def _about(trial: Trial, cut: bool) -> Text:
    """Return the hyperparameters of a trial, and the reason if it ended before its last epoch."""
    if trial.state is TrialState.FAILED:
        reason = printable(first_line(trial.reason))
        return Text(reason[:REASON_CHARACTERS] if cut else reason, style="red")
    text = Text(describe(trial), style="dim" if trial.state in SCORED else "")
    if trial.repeats is not None:
        text.append(f"  (repeats {trial.repeats})", style="cyan")
    if trial.verified is False:
        text.append(f"  {NOT_VERIFIED}", style="yellow")
    if trial.state in (TrialState.STOPPED, TrialState.PAUSED) and not cut:
        text.append(f"\n{printable(trial.reason)}", style="yellow")
    return text


def _newest(state: StudyState, trial: Trial) -> float | None:
    if not trial.epochs:
        return None
    return trial.epochs[max(trial.epochs)].get(state.settings.search.objective)


def _epochs(state: StudyState, trial: Trial, worker: WorkerStatus | None) -> RenderableType:
    done = max(trial.epochs, default=-1) + 1
    if trial.state is not TrialState.RUNNING:
        return Text(_share(state, trial, done) if done else "", style="dim")
    part = worker.progress if worker and worker.epoch == done else 0.0
    bar = ProgressBar(total=epochs_of(state, trial), completed=done + part, width=10)
    row = Table.grid(padding=(0, 1))
    row.add_row(bar, _share(state, trial, done))
    return row


def _share(state: StudyState, trial: Trial, epochs: int) -> str:
    """Return 2/10 for instance, or the epochs only if the trial has more than are planned."""
    planned = epochs_planned(state, trial, epochs)
    return str(epochs) if planned is None else f"{epochs}/{planned}"
