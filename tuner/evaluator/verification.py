"""Checks, before the test images are read, that the model to evaluate is the one that was scored in the search."""

import logging
from pathlib import Path
from typing import Any

from tuner.data.arrays import Arrays
from tuner.data.source import Progress
from tuner.errors import NoResultError
from tuner.evaluation.measurement import ReportProgress
from tuner.evaluation.recomputation import REMEDY, Recomputed, Subject, recompute
from tuner.study.state import StudyState
from tuner.study.trial import Trial

log = logging.getLogger(__name__)


def verify(
    model: Any, file: Path, best: Trial, state: StudyState, validation: Arrays, report_progress: ReportProgress
) -> Recomputed | None:
    """Recompute the best trial's score on all validation images; return None if it cannot be recomputed.

    It is tried also if the worker could not recompute it, because a metric may have been registered since then. A score
    that the space's own `fit` returned and the worker did not confirm may be another number than its name says, so it
    may differ.

    Args:
        model: The model of the trial's best epoch.
        file: The file from which it was loaded.
        best: The trial.
        state: The study.
        validation: The validation images.
        report_progress: Called after each batch.

    Raises:
        NoResultError: The model has another score than the search recorded, so the test images must not be read.
        SpaceError: The model's output is not one row per image.
    """
    assert best.best_epoch is not None
    subject = Subject(
        model,
        file,
        validation,
        state.settings.evaluation.batch_size,
        lambda done, total: report_progress(Progress("verifying", done, total)),
    )
    recomputed = recompute(subject, best.epochs[best.best_epoch], state.objective.name, everything=True)
    if recomputed is not None and not recomputed.agrees:
        if best.verified is False and best.returned == best.best_epoch:
            log.warning("the score is not verified: %s", recomputed.comparison())
            return None
        raise NoResultError(
            f"the saved model of trial {best.trial_id} is not the one that was scored, so it is not evaluated, and the "
            f"test images were not read: {recomputed.comparison()}. {REMEDY} Then search again with another `name`."
        )
    return recomputed
