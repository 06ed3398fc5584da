"""Figures, model card and report of an evaluation. If one cannot be made, the measurements are still written."""

import logging
from collections.abc import Callable
from dataclasses import dataclass

from tuner import names
from tuner.errors import PreemptedError
from tuner.evaluation.measurement import Measured, Subject
from tuner.evaluation.own_result import OwnMetrics
from tuner.evaluation.provenance import Provenance
from tuner.report.figures.calibration import calibration_png
from tuner.report.figures.confusion_matrix import confusion_matrix_png
from tuner.report.figures.robustness import robustness_png
from tuner.report.html_page import ReportContents, report_html
from tuner.report.model_card import model_card
from tuner.report.sprites import cut, sheet
from tuner.study.attempts import History
from tuner.study.state import StudyState

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Artifacts:
    """The content of each file, by name."""

    files: dict[str, bytes]
    failed: tuple[str, ...]
    """Names of the files that could not be made; the log has the reason."""


class _Maker:
    """Makes files. One that cannot be made is logged, and the others are made nevertheless."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self._failed: list[str] = []

    def make(self, name: str, content: Callable[[], bytes]) -> None:
        """Make a file."""
        try:
            self.files[name] = content()
        except PreemptedError:
            raise
        except Exception:  # caused by unusual names or numbers, for example; keep the measurements
            log.exception("cannot make %s; the evaluation is written without it", name)
            self._failed.append(name)

    def artifacts(self) -> Artifacts:
        """Return all files."""
        return Artifacts(self.files, tuple(self._failed))


def make_artifacts(measured: Measured, subject: Subject, origin: Provenance, history: History) -> Artifacts:
    """Return all artifacts that can be made."""
    metrics, card = measured.metrics, measured.robustness
    maker = _Maker()
    make, files = maker.make, maker.files

    make(names.CONFUSION_PNG, lambda: confusion_matrix_png(metrics))
    make(names.CALIBRATION_PNG, lambda: calibration_png(metrics))
    make(names.MOST_WRONG_PNG, lambda: sheet(measured.most_wrong))
    make(names.MODEL_CARD, lambda: _text(model_card(metrics, origin)))
    if card is not None:
        samples, columns = card.samples, card.samples.shape[1]
        rows = samples.reshape(-1, *samples.shape[2:])
        make(names.ROBUSTNESS_SAMPLES_PNG, lambda: sheet(rows, columns))
        make(names.ROBUSTNESS_PNG, lambda: robustness_png(metrics, samples))

    def page() -> bytes:
        wrong = names.MOST_WRONG_PNG
        tiles = cut(files[wrong], len(measured.most_wrong)) if wrong in files else []
        return _text(
            report_html(ReportContents(metrics, origin, subject.state, history, tiles, _samples(measured, files)))
        )

    make(names.REPORT_HTML, page)
    return maker.artifacts()


def make_own_artifacts(metrics: OwnMetrics, origin: Provenance, state: StudyState, history: History) -> Artifacts:
    """Return the model card and the report of a space with its own data or evaluation."""
    maker = _Maker()
    maker.make(names.MODEL_CARD, lambda: _text(model_card(metrics, origin)))
    maker.make(names.REPORT_HTML, lambda: _text(report_html(ReportContents(metrics, origin, state, history, (), ()))))
    return maker.artifacts()


def _samples(measured: Measured, files: dict[str, bytes]) -> list[list[bytes]]:
    """Return the sample images, one list per corruption; an empty list if they could not be made."""
    if measured.robustness is None or names.ROBUSTNESS_SAMPLES_PNG not in files:
        return []
    rows, columns = measured.robustness.samples.shape[:2]
    tiles = cut(files[names.ROBUSTNESS_SAMPLES_PNG], rows * columns, columns)
    return [tiles[column::columns] for column in range(columns)]


def _text(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")
