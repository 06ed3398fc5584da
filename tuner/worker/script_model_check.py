"""Checks after the first epoch of an attempt that the model of a script can be built again and has the same objective.

Scripts are exempt from the rule that a saved model is loaded without its code. Instead, the model is built by the
script's own `build(hp)` and gets the saved weights. It must then have the objective that was reported.
"""

import inspect
import logging
from collections.abc import Callable, Mapping
from pathlib import Path

import keras
import keras_tuner

from tuner.scripts.models import load_model
from tuner.scripts.training import ScriptTrainer
from tuner.spaces.error_cause import cause_of
from tuner.spaces.out_of_memory import out_of_memory
from tuner.training.faults import SharedFaultError
from tuner.worker.check_faults import check_faults

log = logging.getLogger(__name__)

ABSOLUTE, RELATIVE = 1e-3, 1e-2
"""Differences of two computations of the same model that rounding explains."""
_PREFIX = "val_"


class ScriptModelCheck:
    """Checks the first saved model of an attempt."""

    def __init__(self, trainer: ScriptTrainer, hyperparameters: keras_tuner.HyperParameters) -> None:
        self._trainer = trainer
        self._hyperparameters = hyperparameters
        self._is_checked = False

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

        It cannot be recomputed if the script's own code returned it, or if `fit` did not evaluate the model on data
        that can be read again.

        Raises SharedFaultError if the model cannot be built again, or does not have the reported objective, and
        MemoryError if there is not enough memory for a second model.
        """
        if self._is_checked:
            return None
        check()
        with check_faults():
            model = self._built_again(file)
            self._is_checked = True
            return False if returned else self._has_objective(model, metrics)

    def _built_again(self, file: Path) -> keras.Model:
        try:
            return load_model(self._trainer.search, self._hyperparameters, file)
        except Exception as error:
            if out_of_memory(error):
                raise
            raise SharedFaultError(
                f"the saved weights cannot be loaded into the model that build(hp) returns ({cause_of(error)}). Let "
                "build(hp) return the same model whenever it is called with the same values."
            ) from error

    def _has_objective(self, model: keras.Model, metrics: Mapping[str, float]) -> bool:
        callback, objective = self._trainer.callback, self._trainer.search.tuner.oracle.objective.name
        validation = callback.validation if callback else None
        if callback is None or validation is None or not objective.startswith(_PREFIX):
            return False
        if inspect.isgenerator(validation.get("x")):
            return False
        name, reported = objective.removeprefix(_PREFIX), metrics[objective]
        value = _evaluated(model, validation, name)
        if value is None or _agree(value, reported):
            return value is not None
        trained = _evaluated(callback.model, validation, name)
        if trained is None or not _agree(trained, reported):
            log.warning(
                "the objective is not verified: %s was reported as %.4g, and is %s when the same model is evaluated "
                "again, so the validation data differs each time", objective, reported, trained,
            )  # fmt: skip
            return False
        raise SharedFaultError(
            f"{objective} was reported as {reported:.4g}, but the model that build(hp) returns has {value:.4g} with "
            "the saved weights. Let the model depend on its weights and on hp only: build the same layers whenever "
            "build(hp) is called, and keep no other state in them."
        )


def _evaluated(model: keras.Model, validation: Mapping[str, object], name: str) -> float | None:
    """Return a metric of the model on the validation data; None if the model has no such metric."""
    value = type(model).evaluate(model, **validation, return_dict=True, verbose=0).get(name)
    return None if value is None else float(value)


def _agree(value: float, reported: float) -> bool:
    return abs(value - reported) <= max(ABSOLUTE, RELATIVE * abs(reported))
