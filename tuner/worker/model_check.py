"""Checks after the first epoch of an attempt that its model can be evaluated: loaded, applied, and scored equally."""

import logging
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuner.data.arrays import Arrays
from tuner.errors import SpaceError
from tuner.evaluation import recomputation, saved_model
from tuner.training.faults import InvalidTrialError, SharedFaultError
from tuner.worker.check_faults import check_faults

log = logging.getLogger(__name__)

_VALUE_TO_RETURN = (
    "What fit returns must be the value of the model that it leaves, such as history.history[{objective!r}][-1]. "
    "Return the best epoch's value only if fit restores that epoch's weights, or if it passes the callbacks on to "
    "model.fit(), so that the best epoch's model is kept. If it is such a value, fit changes the images."
)


class ModelCheck:
    """Checks the saved models of one attempt.

    A model is loaded as the evaluator loads it. Its objective is recomputed on the validation images, and must be the
    reported one. This is repeated after 2, 4, 8, … epochs while the agreement may be accidental, because the model
    predicts the same class for all images.
    """

    def __init__(self, validation: Arrays, classes: int, batch_size: int, objective: str) -> None:
        self._validation = validation
        self._classes = classes
        self._batch_size = batch_size
        self._objective = objective
        self._epochs = 0
        """Number of epochs that were saved."""
        self._next = 1
        """Number of epochs after which the next check is due."""

    def verify(
        self,
        file: Path,
        metrics: Mapping[str, float],
        returned: bool,
        check: Callable[[], None],
        *,
        named: bool = False,
    ) -> bool | None:
        """Return whether the objective was recomputed; None if the check is not due.

        Args:
            file: The saved model.
            metrics: The metrics of its epoch.
            returned: Whether `fit` returned the objective, which then may be another number than its name says.
            check: Called after each batch, and may raise.
            named: Whether `fit` returned it in a dict, so that it is the metric of this model that its name says.

        Raises:
            SharedFaultError: The model cannot be evaluated, or does not have the reported objective.
            InvalidTrialError: The model's output is not finite.
            MemoryError: There is not enough memory for the saved model beside the trained one.
        """
        self._epochs += 1
        if self._epochs < self._next and not returned:
            return None
        self._next = 2 * self._epochs
        with check_faults():
            model = saved_model.load_model(file, f"the model of epoch {self._epochs}")
            subject = recomputation.Subject(
                model, file, self._validation, self._batch_size, lambda *_: check(), self._inspect
            )
            recomputed = recomputation.recompute(subject, metrics, self._objective, everything=False)
        if not np.isfinite(metrics[self._objective]):
            self._next = self._epochs + 1
            return None
        if recomputed is None:
            self._next = sys.maxsize
            return False
        if not recomputed.agrees:
            if returned and not named:
                log.warning("the objective is not verified: %s", recomputed.comparison())
                return False
            remedy = f"{_VALUE_TO_RETURN} {recomputation.REMEDY}" if returned else recomputation.REMEDY
            raise SharedFaultError(f"{recomputed.comparison()}. {remedy.format(objective=self._objective)}")
        if recomputed.is_telling:
            self._next = sys.maxsize
        return True

    def _inspect(self, outputs: NDArray[Any]) -> None:
        """Raise an error if the outputs are not probabilities. Not finite ones are the fault of this trial only."""
        try:
            saved_model.class_probabilities(outputs, self._classes)
        except SpaceError as error:
            if np.isfinite(outputs).all():
                raise
            raise InvalidTrialError(str(error)) from None
