"""The confusion matrix as a picture: drawn without display or warning, with all that it must say, readable."""

import io
import itertools
import time
import warnings
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from tests.evaluation.fixtures import cifake, metrics_of
from tuner.report.figures.confusion_matrix import confusion_matrix_png
from tuner.report.figures.style import DPI, text_colour


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that were saved, to look into."""
    figures: list[Figure] = []
    save = Figure.savefig

    def keep(self: Figure, *args: Any, **options: Any) -> None:
        figures.append(self)
        save(self, *args, **options)

    monkeypatch.setattr(Figure, "savefig", keep)
    return figures


def texts(figure: Figure) -> list[Text]:
    return [text for text in figure.findobj(Text) if text.get_text()]


def test_the_picture_says_counts_percentages_accuracy_interval_and_images(drawn: list[Figure]) -> None:
    png = confusion_matrix_png(cifake())
    assert Image.open(io.BytesIO(png)).format == "PNG"
    labels = {text.get_text() for text in texts(drawn[0])}
    assert {"9,384", "93.8 %", "616", "6.2 %", "760", "7.6 %", "9,240", "92.4 %"} <= labels
    assert {"FAKE", "REAL", "FAKE\n10,000", "REAL\n10,000", "truth", "predicted"} <= labels
    assert "Accuracy 93.12 %" in labels
    assert "95 % interval 92.76-93.47 % · 20,000 test images" in labels


def overlapping(labels: list[Text], apart: float) -> list[str]:
    """Labels whose letters cross their neighbour's, `apart` pixels away."""
    overlaps = []
    for label, neighbour in itertools.pairwise(labels):
        if label.get_rotation() == 45:  # parallel lines: their distance counts
            crossing = apart / 2**0.5 < float(label.get_fontsize()) / 72 * DPI
        else:
            crossing = bool(label.get_window_extent().overlaps(neighbour.get_window_extent()))
        if crossing:
            overlaps.append(label.get_text())
    return overlaps


@pytest.mark.parametrize("classes", [2, 3, 5, 10, 20])
def test_no_text_leaves_the_picture_or_its_cell_for_2_to_20_classes(classes: int, drawn: list[Figure]) -> None:
    rng = np.random.default_rng(classes)
    matrix = (rng.dirichlet(np.full(classes, 0.5), classes) * 2500).astype(int)
    np.fill_diagonal(matrix, 98_765)  # wide numbers
    named = tuple(f"a class with a long name {i}" if i % 3 == 0 else f"class {i}" for i in range(classes))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        confusion_matrix_png(metrics_of(matrix.tolist(), named))
    (figure,) = drawn
    width, height = figure.bbox.width, figure.bbox.height
    for text in texts(figure):
        box = text.get_window_extent()
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width and box.y1 <= height, text  # noqa: PT018
    (axes,) = figure.axes
    cell = axes.bbox.width / classes
    assert all(text.get_window_extent().width < cell * 0.94 for text in axes.texts)
    assert not overlapping(axes.get_xticklabels(), cell)
    assert not overlapping(axes.get_yticklabels(), cell)
    assert min(float(text.get_fontsize()) for text in texts(figure)) >= 5


def test_an_image_alone_and_a_class_without_images_can_be_drawn(drawn: list[Figure]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        confusion_matrix_png(metrics_of([[1, 0], [0, 0]], ("FAKE", "REAL")))
    assert any("1 test image" in text.get_text() and "images" not in text.get_text() for text in texts(drawn[0]))


def test_the_same_evaluation_is_the_same_picture() -> None:
    assert confusion_matrix_png(cifake()) == confusion_matrix_png(cifake())


def test_text_is_dark_on_light_and_white_on_dark() -> None:
    assert text_colour("#ffffff") != "white"
    assert text_colour("#123f73") == "white"
    assert text_colour("#8a2f0b") == "white"


def test_a_class_name_is_never_read_as_a_formula() -> None:
    confusion_matrix_png(metrics_of([[1, 0], [0, 1]], (r"$\broken$", "$y$")))


# ---- many classes -----------------------------------------------------------------------------------
def diagonal(classes: int) -> list[list[int]]:
    """Nine tenths right, the rest taken for the next class but one."""
    matrix = [[0] * classes for _ in range(classes)]
    for truth, row in enumerate(matrix):
        row[truth], row[(truth + 2) % classes] = 9, 1
    return matrix


@pytest.mark.parametrize("classes", [31, 1000, 2500])
def test_many_classes_are_a_heat_map_that_costs_seconds_and_keeps_every_mistake(
    classes: int, drawn: list[Figure]
) -> None:
    metrics = metrics_of(diagonal(classes), tuple(f"a species with number {number}" for number in range(classes)))
    began = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        png = confusion_matrix_png(metrics)
    assert time.process_time() - began < 6
    assert len(png) < 1_000_000
    (figure,) = drawn
    for text in texts(figure):
        box = text.get_window_extent()
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= figure.bbox.width and box.y1 <= figure.bbox.height, text  # noqa: PT018
    axes, *_ = figure.axes
    assert len(axes.get_yticklabels()) <= 30
    assert len(axes.patches) == 0
    (cells,) = axes.images
    pixels = np.asarray(cells.get_array())
    assert len(pixels) <= 1200
    orange = (pixels[..., 0].astype(int) - pixels[..., 2] > 40).any(axis=1)
    assert orange.all(), "each row has a mistake"


def test_a_heat_map_tells_right_from_wrong_by_colour_and_nothing_by_white(drawn: list[Figure]) -> None:
    confusion_matrix_png(metrics_of(diagonal(40), tuple(map(str, range(40)))))
    pixels = np.asarray(drawn[0].axes[0].images[0].get_array()).astype(int)
    right, wrong, nothing = pixels[5, 5], pixels[5, 7], pixels[5, 20]
    assert right[2] > right[0] + 60
    assert wrong[0] > wrong[2] + 60
    assert nothing.tolist() == [255, 255, 255]
