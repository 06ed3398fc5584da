"""The metrics of every epoch as a table for the terminal."""

from collections.abc import Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from tuner.printable import printable
from tuner.report.text import score
from tuner.study.flat_rows import METRICS, epoch_rows
from tuner.study.trial import Trial


def epochs_table(trials: Sequence[Trial]) -> Table:
    """Return a table with a row per reported epoch, in the order of the trials."""
    flat = epoch_rows(trials)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("trial", no_wrap=True)
    table.add_column("epoch", no_wrap=True, justify="right")
    for column in flat.columns[2:]:
        table.add_column(printable(column.removeprefix(f"{METRICS}.")), justify="right")
    for trial_id, epoch, *values in flat.rows:
        cells = ["" if value is None else score(float(value)) for value in values]
        table.add_row(Text(str(trial_id)), str(epoch), *cells)
    return table
