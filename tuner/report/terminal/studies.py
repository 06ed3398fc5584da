"""Tables of several studies for the terminal."""

from collections.abc import Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from tuner.printable import printable
from tuner.report.text import score, size
from tuner.study.best_so_far import BestSoFar
from tuner.study.status import Activity
from tuner.study.summary import StudySummary


def studies_table(summaries: Sequence[StudySummary]) -> Table:
    """Return a table with a row per study."""
    table = _table(("study", "left"), ("state", "left"), ("trials", "right"), ("best", "right"), ("", "left"),
                   ("worker-hours", "right"), ("size", "right"))  # fmt: skip
    for summary in summaries:
        table.add_row(
            printable(summary.study),
            Text(_state(summary), style="red" if summary.problem else ""),
            summary.trials or "",
            "" if summary.best_score is None else score(summary.best_score),
            printable(summary.objective or "") if summary.best_score is not None else "",
            _hours(summary.worker_hours),
            size(summary.size_bytes),
        )
    return table


def _state(summary: StudySummary) -> str:
    if summary.problem:
        return "unreadable"
    if summary.activity is Activity.FINISHED or summary.activity is None:
        return summary.state or ""
    return summary.activity.value.replace("_", " ")


def comparison_table(searches: Sequence[BestSoFar], target: float) -> Table:
    """Return a table with a row per search. `target` is the objective that all of them have reached."""
    table = _table(("study", "left"), ("trials", "right"), (f"best {printable(searches[0].objective.name)}", "right"),
                   ("worker-hours", "right"), ("of these until the best", "right"),
                   (f"until {score(target)}", "right"))  # fmt: skip
    for search in searches:
        table.add_row(
            printable(search.study),
            str(search.trials),
            score(search.best),
            _hours(search.worker_hours),
            _hours(search.steps[-1].worker_hours),
            _hours(search.hours_to(target)),
        )
    return table


def _table(*columns: tuple[str, str]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name, justify in columns:
        table.add_column(name, justify="right" if justify == "right" else "left", no_wrap=name in ("study", "state"))
    return table


def _hours(hours: float | None) -> str:
    """Return hours with a precision that suits them."""
    return "" if hours is None else f"{hours:.{2 if hours >= 1 else 4}f}"
