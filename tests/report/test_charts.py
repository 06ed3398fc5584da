"""The drawing kit, and rungs, as numbers."""

import math
import re
from dataclasses import replace

import pytest

from tests.evaluation.reports import report_of
from tests.evaluation.searches import search
from tests.live_page.studies import finish, hostile
from tests.support.records import state_of
from tuner.config.loading import parse
from tuner.names import TrialId
from tuner.report.charts.parallel_coordinates import parallel_chart
from tuner.report.charts.svg import Drawing, Scale, short, span
from tuner.report.html_page import report_html
from tuner.report.rungs import rungs_of
from tuner.study.attempts import attempts_of
from tuner.study.progress import downsample
from tuner.study.records import TrialState
from tuner.study.state import StudyState
from tuner.study.trial import Trial


@pytest.mark.parametrize(
    ("scale", "ticks"),
    [
        (Scale(0, 1, 0, 100), [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (Scale(0.8612, 0.9334, 0, 100), [0.88, 0.9, 0.92]),
        (Scale(1, 3, 0, 100, whole=True), [1, 2, 3]),
        (Scale(1e-4, 1e-2, 0, 100, log=True), [1e-4, 1e-3, 1e-2]),
        (Scale(2e-4, 9e-4, 0, 100, log=True), [2e-4, 9e-4]),
        (Scale(5, 5, 0, 100), [5]),
    ],
)
def test_ticks_are_round_and_within_the_ends(scale: Scale, ticks: list[float]) -> None:
    assert scale.ticks() == pytest.approx(ticks)


def test_a_scale_holds_what_is_beyond_its_ends() -> None:
    scale = Scale(1e-4, 1e-2, 0, 100, log=True)
    assert [scale(value) for value in (-1, 0, 1e-4, 1e-3, 1e-2, 5)] == pytest.approx([0, 0, 0, 50, 100, 100])
    assert Scale(3, 3, 0, 100)(3) == 50


@pytest.mark.parametrize("values", [(-1.7e308, 1.7e308), (0.5, 1.7e308), (5e-324, 1e-323), (1e20, 1e20 + 2**14)])
@pytest.mark.parametrize("log", [False, True])
def test_an_axis_can_be_drawn_of_any_numbers(values: tuple[float, float], log: bool) -> None:
    low, high = span(values)
    scale = Scale(low, high, 0, 100, log=log and low > 0)
    assert all(0 <= scale(value) <= 100 for value in (*values, *scale.ticks(), math.inf, -math.inf))
    assert len(scale.ticks()) <= 20


def test_text_of_a_drawing_is_escaped_wherever_it_stands() -> None:
    drawing = Drawing(10, 10, 'label "<b>"')
    drawing.text((0, 0), "<script>")
    drawing.path([(0, 0), (1, 1)], 'css" onload="x', "title </title>")
    svg = str(drawing.svg())
    assert "<script>" not in svg
    assert 'onload="x' not in svg
    assert "<b>" not in svg
    assert svg.count("</title>") == 1


def test_long_text_and_long_lines_are_shortened() -> None:
    assert short("abcdef", 4) == "abc…"
    points = [(float(x), 0.0) for x in range(1000)]
    kept = downsample(points, 10)
    assert (len(kept), kept[0], kept[-1]) == (10, points[0], points[-1])


def test_rungs_add_up_to_the_trials() -> None:
    state = state_of(search(200))
    first, *others = rungs_of(state)
    counted = [trial for trial in state.trials.values() if 0 in trial.rungs]
    assert (first.reached, first.epochs) == (len(counted), 1)
    for rung, after in zip([first, *others], others, strict=False):
        lost = sum(
            trial.state is TrialState.FAILED and max(trial.rungs, default=-1) == int(rung.name)
            for trial in state.trials.values()
        )
        assert rung.reached - rung.stopped - lost == after.reached
    assert first.best is not None
    assert first.middle is not None
    assert first.best > first.middle


def test_hyperbands_rounds_are_its_rungs() -> None:
    study = parse({"search": {"algorithm": "hyperband"}, "training": {"epochs": 3}}, "a test")
    state = StudyState(study=study)
    for number in range(4):
        last = number == 3
        values = {"tuner/bracket": 1, "tuner/round": int(last), "tuner/epochs": 3 if last else 1}
        trial = Trial(TrialId(str(number)), {**values}, state=TrialState.COMPLETED, score=0.5 + 0.1 * number)
        state.trials[trial.trial_id] = trial
    first, second = rungs_of(state)
    assert (first.name, first.epochs, first.reached, first.stopped) == ("bracket 1, round 0", 1, 3, 2)
    assert (second.name, second.reached, second.stopped, second.best) == ("bracket 1, round 1", 1, 0, 0.8)


def test_numbers_that_cannot_be_drawn_are_words_in_their_order() -> None:
    trials = [
        Trial(TrialId(str(number)), {"cap": cap}, state=TrialState.COMPLETED, score=0.1 * number)
        for number, cap in enumerate((10.0, math.inf, 2.0, math.nan, 10**400))
    ]
    chart = str(parallel_chart(trials, [], "val_accuracy", 1))
    written = re.findall(r'y="([\d.]+)"[^>]*class="halo">([^<]+)<', chart)
    from_below = [word for _, word in sorted(written, key=lambda pair: -float(pair[0]))]
    assert [word[:4] for word in from_below] == ["2.0", "10.0", "1000", "inf", "nan"]


def test_the_whole_page_can_be_made_of_numbers_that_are_none() -> None:
    contents = report_of(30, hostile=True)
    assert "Parallel coordinates" in report_html(contents)
    state = finish(hostile())
    assert "Score by order of ending" in report_html(replace(contents, state=state, history=attempts_of(search(3))))
