"""The model card, model_card.md: what the model is for, what it reaches, where it fails and where it comes from.

After Mitchell et al. 2019 (https://arxiv.org/abs/1810.03993).
"""

import re
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from tuner.evaluation.provenance import Provenance
from tuner.evaluation.result import Metrics
from tuner.report.calibration_text import calibration_line, errors_line
from tuner.report.text import interval, percent, score


class _Markdown(str):
    """Text that is Markdown already."""

    __slots__ = ()


def model_card(metrics: Metrics, provenance: Provenance) -> str:
    """Return the card as Markdown; what users named is escaped."""
    environment = Environment(
        loader=PackageLoader("tuner.report"),
        autoescape=False,  # noqa: S701  (it is Markdown: `finalize` escapes)
        finalize=_escaped,
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=False,
    )
    template = environment.get_template("model_card.md.j2")
    said = [of(metrics.calibration) if metrics.calibration else "" for of in (calibration_line, errors_line)]
    return template.render(
        m=metrics, p=provenance, percent=percent, interval=interval, score=score, code=_code,
        calibration_line=said[0], calibration_error=said[1],
    )  # fmt: skip


def _code(text: str) -> _Markdown:
    return _Markdown(f"`{text}`")


def _escaped(value: Any) -> Any:
    """Return text that Markdown shows as it is, also within a table."""
    if isinstance(value, _Markdown) or not isinstance(value, str):
        return value
    return re.sub(r"([\\`*_\[\]<>|&])", r"\\\1", " ".join(value.splitlines()))
