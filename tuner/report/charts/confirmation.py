"""Chart of the trials that were trained again with other seeds: all scores of each, and the mean of its repetitions."""

from collections.abc import Sequence

from markupsafe import Markup

from tuner.evaluation.confirmed import ConfirmedTrial
from tuner.report.charts.svg import Drawing, Scale, span
from tuner.report.text import score

WIDTH, LEFT, ROW = 400.0, 62.0, 26


def confirmation_chart(confirmed: Sequence[ConfirmedTrial], objective: str) -> Markup:
    """Return a row for each trial with a dot for each score, and a line at the mean of its repetitions."""
    bottom = 10.0 + ROW * len(confirmed)
    drawing = Drawing(WIDTH, bottom + 38, f"{objective} of the best trials in the search and with other seeds")
    x = Scale(*span([value for each in confirmed for value in (each.score, *each.scores)]), LEFT + 8, WIDTH - 16)
    for row, each in enumerate(confirmed):
        y = 10.0 + ROW * (row + 0.5)
        drawing.text((LEFT - 6, y + 4), each.trial, anchor="end")
        drawing.line((LEFT, y), (WIDTH - 8, y), "grid")
        if each.mean is not None:
            drawing.line((x(each.mean), y - 9), (x(each.mean), y + 9), "best")
        drawing.dot((x(each.score), y), "curve top", f"trial {each.trial} in the search: {score(each.score)}")
        for value in each.scores:
            drawing.dot((x(value), y), "curve good", f"trial {each.trial} with another seed: {score(value)}")
    drawing.bottom_axis(x, bottom, lambda value: f"{value:z.4g}", objective, count=4)
    return drawing.svg()
