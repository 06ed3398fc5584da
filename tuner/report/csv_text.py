"""Writes a table as CSV (RFC 4180, with the line ends of this system's tools)."""

import csv
import io

from tuner.printable import spreadsheet_cell
from tuner.study.flat_rows import FlatRows
from tuner.study.records import Value


def csv_text(table: FlatRows) -> str:
    """Return the table, with a header. A missing value is empty, and a number has all its digits.

    No text is a formula for a spreadsheet, as in predictions.csv.gz. Line breaks within a text are kept.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_cell(column) for column in table.columns)
    writer.writerows([_cell(value) for value in row] for row in table.rows)
    return text.getvalue()


def _cell(value: Value | None) -> str:
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()  # as in JSON
        case str():
            return spreadsheet_cell(value, keep="\n")
        case _:
            return repr(value)
