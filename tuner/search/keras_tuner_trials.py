"""The trials of a study as objects of Keras Tuner."""

from typing import Any

import keras_tuner
from keras_tuner.engine.trial import Trial as KerasTunerTrial
from keras_tuner.engine.trial import TrialStatus

from tuner.search.suggester.selection import inferred_direction
from tuner.study.objective import Objective
from tuner.study.trial import SCORED, Trial


def keras_tuner_trial(trial: Trial, objective: Objective, space: keras_tuner.HyperParameters) -> Any:
    """Return a trial of the study as Keras Tuner's own, with the metrics of all its epochs.

    A trial with a score is COMPLETED, and all others are FAILED.
    """
    hyperparameters = keras_tuner.HyperParameters.from_config(space.get_config())
    hyperparameters.values = dict(trial.hyperparameters)
    has_score = trial.state in SCORED and trial.score is not None
    status = TrialStatus.COMPLETED if has_score else TrialStatus.FAILED
    exported = KerasTunerTrial(hyperparameters, trial_id=trial.trial_id, status=status, message=trial.reason or None)
    for epoch in sorted(trial.epochs):
        for name, value in trial.epochs[epoch].items():
            if not exported.metrics.exists(name):
                is_objective = name == objective.name
                direction = objective.direction if is_objective else inferred_direction(name) or "min"  # as Keras Tuner
                exported.metrics.register(name, direction)
            exported.metrics.update(name, value, step=epoch)
    if has_score:
        exported.score, exported.best_step = trial.score, trial.best_epoch
    return exported
