"""The model card, model_card.md: intended use, accuracy, limitations and provenance of the model.

The format is that of Mitchell et al. 2019 (https://arxiv.org/abs/1810.03993).
"""

import re
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from tuner.evaluation.own_result import AnyMetrics, OwnMetrics
from tuner.evaluation.provenance import Provenance
from tuner.printable import printable
from tuner.report.calibration_text import calibration_line, errors_line
from tuner.report.class_rows import class_list, class_rows, omitted_classes
from tuner.report.text import interval, percent, score
from tuner.study.confirmation import mean_text


class _Markdown(str):
    """Text that is already Markdown, and must not be escaped again."""

    __slots__ = ()


def model_card(metrics: AnyMetrics, provenance: Provenance) -> str:
    """Return the card as Markdown, with every name from users escaped."""
    if isinstance(metrics, OwnMetrics):
        return _template("own_model_card.md.j2").render(
            m=metrics, p=provenance, score=score, code=_code, mean_text=mean_text
        )
    calibration = metrics.calibration
    return _template("model_card.md.j2").render(
        m=metrics, p=provenance, percent=percent, interval=interval, score=score, code=_code, mean_text=mean_text,
        calibration_line=calibration_line(calibration) if calibration else "",
        calibration_error=errors_line(calibration) if calibration else "",
        class_list=class_list(metrics.classes), class_rows=class_rows(metrics),
        omitted_classes=omitted_classes(metrics),
    )  # fmt: skip


@cache  # compiling takes longer than rendering
def _template(name: str) -> Template:
    environment = Environment(
        loader=PackageLoader("tuner.report"),
        autoescape=False,  # noqa: S701  (it is Markdown: `finalize` escapes)
        finalize=_escaped,
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=False,
    )
    return environment.get_template(name)


def _code(text: str) -> _Markdown:
    return _Markdown(f"`{text}`")


def _escaped(value: Any) -> Any:
    """Return the text escaped, so that Markdown shows it literally, also within a table."""
    if isinstance(value, _Markdown) or not isinstance(value, str):
        return value
    return re.sub(r"([\\`*_\[\]<>|&])", r"\\\1", printable(" ".join(value.splitlines())))
