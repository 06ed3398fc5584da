"""What the terminal shows of an evaluation."""

import io

import pytest
from rich.console import Console

from tests.evaluation.fixtures import cifake, metrics_of
from tests.evaluation.reports import report_of
from tuner.evaluation.own_result import AnyMetrics
from tuner.report.terminal.evaluation import summary
from tuner.report.text import accuracy_line, counted, interval, percent, score


def printed(metrics: AnyMetrics, bucket_url: str | None = None) -> str:
    out = io.StringIO()
    Console(file=out, width=80).print(summary(metrics, bucket_url))
    return out.getvalue()


def test_every_accuracy_stands_with_its_interval_and_its_images() -> None:
    text = printed(cifake())
    assert "93.12 % (95 % interval 92.76-93.47 %, 20,000 images)" in text
    assert "92.99 % (95 % interval 92.62-93.34 %, 19,622 images)" in text
    assert "93.41 % (95 % interval 92.90-93.88 %, 10,000 images)" in text
    assert "without 378 test images that are also training images" in text


def test_a_pipe_gets_plain_text_of_80_columns() -> None:
    many = metrics_of([[5] * 20 for _ in range(20)], tuple(f"a rather long class name {i}" for i in range(20)))
    eight = metrics_of([[90_000] * 8 for _ in range(8)], tuple(f"class number {i}" for i in range(8)))
    for metrics in (cifake(), many, eight):
        text = printed(metrics, "gs://a-bucket/with/a/prefix")
        assert "\x1b" not in text
        assert max(map(len, text.splitlines())) <= 80


def test_zero_is_never_negative() -> None:
    assert [score(-1e-9), score(-0.0), percent(-1e-9), interval((-0.0, 0.0))] == ["0.0000"] * 2 + [
        "0.00 %",
        "0.00-0.00 %",
    ]
    text = printed(cifake().model_copy(update={"log_loss": -0.0}))
    assert "log loss        0.0000" in text


def test_the_matrix_the_classes_the_trial_and_the_files_are_there() -> None:
    text = printed(cifake(), "gs://bucket/prefix/")
    rows = [line.split() for line in text.splitlines()]
    assert ["FAKE", "9,384", "616"] in rows
    assert ["REAL", "760", "9,240"] in rows
    assert ["FAKE", "92.51", "%", "93.84", "%", "93.17", "%", "10,000"] in rows
    assert ["learning_rate", "0.0005"] in rows
    assert "0017" in text
    assert "gs://bucket/prefix/studies/cifake/evaluation/" in text


def test_many_classes_are_shown_by_their_most_frequent_confusions() -> None:
    matrix = [[100 if i == j else 0 for j in range(12)] for i in range(12)]
    matrix[3][7], matrix[5][1] = 40, 3
    rows = [line.split() for line in printed(metrics_of(matrix, tuple(f"c{i}" for i in range(12)))).splitlines()]
    confusions = [row for row in rows if row[:2] in (["c3", "c7"], ["c5", "c1"])]
    assert confusions == [["c3", "c7", "40", "28.57", "%"], ["c5", "c1", "3", "2.91", "%"]]


def test_calibration_runner_up_and_the_worst_corruption_are_shown_if_they_were_measured() -> None:
    text = printed(report_of(3).metrics)
    assert "calibration     error 1.07 %; 1.15 % when calibrated, which is no better" in text
    assert "temperature 0.84 (95 % interval 0.7" in text
    assert "to runner-up    +1.35 points (95 % interval +0.10 to +2.60, p = 0.033)" in text
    assert "corruptions     at worst" in text
    assert max(map(len, text.splitlines())) <= 80
    assert "calibration" not in printed(cifake())


def test_a_class_name_is_never_read_as_markup() -> None:
    assert "[bold]x" in printed(metrics_of([[1, 0], [0, 1]], ("[bold]x", "y")))


def test_files_that_could_not_be_made_are_named() -> None:
    text = printed(cifake().model_copy(update={"not_made": ("report.html", "calibration.png")}))
    assert "not written (see the log): report.html, calibration.png" in text
    assert "report.html, metrics.json" not in text


def test_a_second_look_at_the_test_images_is_shown() -> None:
    assert "evaluation 2 of this study on the same test images" in printed(
        metrics_of([[1, 0], [0, 1]], ("a", "b"), evaluations=2)
    )


def test_only_leaked_images_leave_no_second_accuracy() -> None:
    assert "every test image is also a training image" in printed(metrics_of([[2, 0], [0, 1]], ("a", "b"), leaked=3))


@pytest.mark.parametrize(
    ("bounds", "written"), [((0.92761, 0.93461), "92.76-93.47 %"), ((0.2065, 1.0), "20.65-100.00 %")]
)
def test_an_interval_is_rounded_outwards(bounds: tuple[float, float], written: str) -> None:
    assert interval(bounds) == written


def test_one_image_is_singular() -> None:
    assert (counted(1, "image"), counted(0, "image")) == ("1 image", "0 images")
    assert accuracy_line(1.0, (0.2065, 1.0), 1) == "100.00 % (95 % interval 20.65-100.00 %, 1 image)"
    assert percent(0.0616, 1) == "6.2 %"
