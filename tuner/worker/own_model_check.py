"""Checks after the first epoch of an attempt that the model of a space with its own data or evaluation can be used."""

import logging
from collections.abc import Callable, Mapping
from pathlib import Path

import keras_tuner

from tuner.evaluation import saved_model
from tuner.spaces.own_data import OwnPart
from tuner.spaces.own_evaluation import evaluate, require_compiled
from tuner.spaces.own_methods import has_own_evaluation
from tuner.training.activities import Activities, Activity
from tuner.worker.check_faults import check_faults

log = logging.getLogger(__name__)

_evaluated: "dict[int, keras_tuner.HyperModel]" = {}
"""Spaces of which this process has evaluated a model, by their ids, because a space may be unhashable."""


class OwnModelCheck:
    """Checks the saved models of one attempt.

    A model is loaded as the evaluator loads it. The first one of the process is also evaluated, on the validation data,
    so that a mistake in the space's `evaluate` does not show only after the search. Its numbers are logged and not
    used: the objective cannot be recomputed, because only the space knows what it means.
    """

    def __init__(
        self, space: keras_tuner.HyperModel, validation: OwnPart, batch_size: int, activities: Activities
    ) -> None:
        self._space = space
        self._validation = validation
        self._batch_size = batch_size
        self._activities = activities
        self._is_loadable = False

    def verify(
        self,
        file: Path,
        metrics: Mapping[str, float],
        returned: bool,
        check: Callable[[], None],
        named: bool = False,
    ) -> bool | None:
        """Return False, because the objective is not recomputed; None if the check is not due.

        Raises SharedFaultError if the model cannot be loaded or evaluated, and MemoryError if that takes too much
        memory. The arguments are those of `ModelCheck`.
        """
        if self._is_loadable:
            return None
        with check_faults():
            model = saved_model.load_model(file, "the saved model", compiled=not has_own_evaluation(self._space))
            require_compiled(self._space, model)
            if id(self._space) not in _evaluated:
                check()
                with self._activities.during(Activity.PREPARE):
                    numbers = evaluate(self._space, model, self._validation.as_returned(), self._batch_size)
                log.info("the evaluation works; on the validation data, it returns %s", ", ".join(numbers))
                _evaluated[id(self._space)] = self._space
        self._is_loadable = True
        return False
