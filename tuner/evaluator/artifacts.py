"""What of an evaluation is only to be looked at: figures, model card, page. One that fails costs no measurement."""

import logging
from collections.abc import Callable
from dataclasses import dataclass

from tuner import names
from tuner.errors import PreemptedError
from tuner.evaluation.measurement import Measured, Subject
from tuner.evaluation.provenance import Provenance
from tuner.report.figures.calibration import calibration_png
from tuner.report.figures.confusion_matrix import confusion_matrix_png
from tuner.report.figures.robustness import robustness_png
from tuner.report.html_page import Contents, report_html
from tuner.report.model_card import model_card
from tuner.report.sprites import cut, sheet
from tuner.study.attempts import History

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pictures:
    """By the names of their files."""

    made: dict[str, bytes]
    not_made: tuple[str, ...]
    """Those that failed; the log says why."""


def pictures(measured: Measured, subject: Subject, origin: Provenance, history: History) -> Pictures:
    """Return all that can be made."""
    metrics, card = measured.metrics, measured.robustness
    made: dict[str, bytes] = {}
    failed: list[str] = []

    def make(name: str, content: Callable[[], bytes]) -> None:
        try:
            made[name] = content()
        except PreemptedError:
            raise
        except Exception:  # whatever users' names and numbers made it fail with: the measurement is worth more
            log.exception("%s cannot be made; the rest of the evaluation is written without it", name)
            failed.append(name)

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
        tiles = cut(made[wrong], len(measured.most_wrong)) if wrong in made else []
        return _text(report_html(Contents(metrics, origin, subject.state, history, tiles, _disturbed(measured, made))))

    make(names.REPORT_HTML, page)
    return Pictures(made, tuple(failed))


def _disturbed(measured: Measured, made: dict[str, bytes]) -> list[list[bytes]]:
    """Return the samples, one list a disturbance; none where they could not be made."""
    if measured.robustness is None or names.ROBUSTNESS_SAMPLES_PNG not in made:
        return []
    rows, columns = measured.robustness.samples.shape[:2]
    tiles = cut(made[names.ROBUSTNESS_SAMPLES_PNG], rows * columns, columns)
    return [tiles[column::columns] for column in range(columns)]


def _text(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")
