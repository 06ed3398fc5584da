"""Tables of many classes: a row per class, at most 20 of them, the worst first; and what they say they leave out."""

import io

from rich.console import Console

from tests.evaluation.fixtures import metrics_of
from tuner.evaluation.result import Metrics
from tuner.report.class_rows import MOST_ROWS, class_list, class_rows, most_confused, omitted_classes
from tuner.report.terminal.evaluation import summary


def many(classes: int, images: int = 10) -> Metrics:
    """An evaluation in which the class number n is right in all but n % 8 of its images."""
    matrix = [[0] * classes for _ in range(classes)]
    for truth, row in enumerate(matrix):
        wrong = truth % 8
        row[truth] = images - wrong
        row[(truth + 1) % classes] = wrong
    return metrics_of(matrix, tuple(f"species {number:04}" for number in range(classes)))


def test_up_to_20_classes_are_all_listed_in_their_order() -> None:
    metrics = many(MOST_ROWS)
    assert [row.name for row in class_rows(metrics)] == list(metrics.classes)
    assert omitted_classes(metrics) == ""
    assert class_list(metrics.classes) == ", ".join(metrics.classes)


def test_of_more_classes_the_20_worst_are_listed_and_the_others_counted() -> None:
    metrics = many(1000)
    scores = [row.scores.f1 for row in class_rows(metrics)]
    assert len(scores) == MOST_ROWS
    assert scores == sorted(scores)
    assert max(scores) <= min(one.f1 for name, one in metrics.per_class.items() if one.f1 not in scores)
    assert omitted_classes(metrics) == ("The 20 classes with the smallest F1, of 1,000. metrics.json has all classes.")
    assert class_list(metrics.classes).endswith("species 0019 and 980 more")


def test_a_class_without_test_images_is_not_among_the_worst() -> None:
    metrics = many(40)
    matrix = [list(row) for row in metrics.confusion_matrix]
    matrix[3] = [0] * 40
    assert "species 0003" not in [row.name for row in class_rows(metrics_of(matrix, metrics.classes))]


def test_the_most_frequent_confusions_come_first() -> None:
    rows = most_confused(many(100), 3)
    assert [(row.truth, row.prediction, row.images, row.share) for row in rows] == [
        ("species 0007", "species 0008", 7, 0.7), ("species 0015", "species 0016", 7, 0.7),
        ("species 0023", "species 0024", 7, 0.7),
    ]  # fmt: skip


def test_the_terminal_says_what_it_leaves_out_and_stays_short() -> None:
    out = io.StringIO()
    Console(file=out, width=80).print(summary(many(1000)))
    lines = out.getvalue().splitlines()
    assert len(lines) < 60
    assert max(map(len, lines)) <= 80
    assert sum(line.startswith("species") for line in lines) == MOST_ROWS + 5
    assert "The 20 classes with the smallest F1, of 1,000." in out.getvalue()
