"""Which classes and confusions a table shows. Tables have a row per class, and at most `MOST_ROWS` of them."""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

from tuner.evaluation.result import Metrics, OneClass

MOST_ROWS = 20
"""Maximum number of classes in a table or a sentence. metrics.json has all of them."""


@dataclass(frozen=True)
class ClassRow:
    """A class and its scores."""

    name: str
    scores: OneClass


@dataclass(frozen=True)
class Confusion:
    """Test images of one class that the model took for another."""

    truth: str
    prediction: str
    images: int
    share: float
    """Share of the test images of the true class."""


def class_rows(metrics: Metrics) -> list[ClassRow]:
    """Return all classes if they fit into a table, else those with the smallest F1, the smallest first.

    A class without test images comes last, because its F1 of 0 says nothing about the model.
    """
    rows = [ClassRow(name, scores) for name, scores in metrics.per_class.items()]
    if len(rows) <= MOST_ROWS:
        return rows
    return heapq.nsmallest(MOST_ROWS, rows, key=lambda row: (row.scores.support == 0, row.scores.f1))


def omitted_classes(metrics: Metrics) -> str:
    """Return which classes the table of `class_rows` omits, or an empty text if it omits none."""
    if len(metrics.classes) <= MOST_ROWS:
        return ""
    return f"The {MOST_ROWS} classes with the smallest F1, of {len(metrics.classes):,}. metrics.json has all classes."


def most_confused(metrics: Metrics, count: int) -> list[Confusion]:
    """Return the most frequent confusions, the most frequent first."""
    mistakes = (
        (images, truth, prediction)
        for truth, row in enumerate(metrics.confusion_matrix)
        for prediction, images in enumerate(row)
        if images and truth != prediction
    )
    return [
        Confusion(
            metrics.classes[truth], metrics.classes[prediction], images, images / sum(metrics.confusion_matrix[truth])
        )
        for images, truth, prediction in heapq.nsmallest(count, mistakes, key=lambda m: (-m[0], m[1], m[2]))
    ]


def class_list(classes: Sequence[str]) -> str:
    """Return the names of the classes in a sentence, cut if there are many."""
    names = ", ".join(classes[:MOST_ROWS])
    return names if len(classes) <= MOST_ROWS else f"{names} and {len(classes) - MOST_ROWS:,} more"
