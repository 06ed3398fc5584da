"""The formats in which `trials` prints: a table, JSON or CSV."""

import json
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tuner.errors import UsageError
from tuner.report.terminal.console import make_console, print_csv, print_json

if TYPE_CHECKING:
    from tuner.study.state import StudyState
    from tuner.study.trial import Trial


class TrialFormat(StrEnum):
    """A format of `trials`."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"


FormatOption = Annotated[
    TrialFormat | None,
    typer.Option("--format", help="Format of the list. Default: table.", show_default=False),
]
EpochsOption = Annotated[bool, typer.Option("--epochs", help="Print the metrics of every epoch of each trial.")]


def chosen_format(given: TrialFormat | None, as_json: bool) -> TrialFormat:
    """Return the format that the options choose. Raises UsageError if they contradict each other."""
    if as_json and given not in (None, TrialFormat.JSON):
        raise UsageError(f"--json contradicts --format {given}. Remove one of them.")
    return TrialFormat.JSON if as_json else given or TrialFormat.TABLE


def print_trials(state: "StudyState", output: TrialFormat, epochs: bool) -> None:
    """Print the trials of a study, with the metrics of every epoch if `epochs` is true.

    In JSON, each trial then has a `curve`. The other formats have a row per epoch instead of a row per trial.
    """
    from tuner.study.flat_rows import epoch_rows, trial_rows

    trials = list(state.trials.values())
    match output:
        case TrialFormat.JSON:
            print_json(json.dumps([_as_json(trial, epochs) for trial in trials], indent=2))
        case TrialFormat.CSV:
            from tuner.report.csv_text import csv_text

            print_csv(csv_text(epoch_rows(trials) if epochs else trial_rows(trials)))
        case TrialFormat.TABLE if epochs:
            from tuner.report.terminal.epochs import epochs_table

            make_console().print(epochs_table(trials))
        case TrialFormat.TABLE:
            from tuner.report.terminal.search import trials_table

            make_console().print(trials_table(state))


def _as_json(trial: "Trial", epochs: bool) -> dict[str, Any]:
    from tuner.study.views import view_trial

    values = view_trial(trial).model_dump(mode="json")
    if epochs:
        values["curve"] = [{"epoch": epoch + 1, "metrics": trial.epochs[epoch]} for epoch in sorted(trial.epochs)]
    return values
