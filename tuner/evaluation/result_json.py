"""Writes metrics.json and confusion_matrix.json with one line per row of the confusion matrix.

With a line per number, 1,000 classes would make a file of a million lines.
"""

import json
from collections.abc import Sequence

from tuner.evaluation.own_result import AnyMetrics
from tuner.evaluation.result import Metrics

_EMPTY = '\n  "confusion_matrix": []'
"""The matrix in a document that was indented without it. Text of users cannot contain the line break."""


def metrics_json(metrics: AnyMetrics) -> str:
    """Return the content of metrics.json."""
    if not isinstance(metrics, Metrics):
        return metrics.model_dump_json(indent=2)
    document = metrics.model_copy(update={"confusion_matrix": ()}).model_dump_json(indent=2)
    return document.replace(_EMPTY, f'\n  "confusion_matrix": {_rows(metrics.confusion_matrix)}', 1)


def confusion_json(metrics: Metrics) -> str:
    """Return the content of confusion_matrix.json. Percentages are shares of the row."""
    totals = [max(1, sum(row)) for row in metrics.confusion_matrix]
    percentages = [
        [100 * images / total if images else 0 for images in row]
        for row, total in zip(metrics.confusion_matrix, totals, strict=True)
    ]
    classes = json.dumps(metrics.classes, indent=4).removesuffix("]") + "  ]"
    parts = {
        "classes": classes,
        "rows": '"truth"',
        "columns": '"prediction"',
        "counts": _rows(metrics.confusion_matrix),
        "percentages": _rows(percentages),
    }
    return "{\n" + ",\n".join(f'  "{key}": {value}' for key, value in parts.items()) + "\n}"


def _rows(matrix: Sequence[Sequence[float]]) -> str:
    lines = ",\n".join(f"    {json.dumps(row)}" for row in matrix)
    return f"[\n{lines}\n  ]"
