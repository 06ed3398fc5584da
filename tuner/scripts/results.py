"""Serves the results of a study to its script after the search: the best trials, and the models of the bucket."""

from pathlib import Path
from typing import Any

import keras

from tuner import names
from tuner.bucket import Bucket
from tuner.errors import ObjectNotFoundError, ScriptError
from tuner.scripts import models
from tuner.scripts.session import ScriptSearch
from tuner.scripts.settings import use_objective
from tuner.search.keras_tuner_trials import keras_tuner_trial
from tuner.spaces.error_cause import cause_of
from tuner.study.state import StudyState


def serve_results(search: ScriptSearch, bucket: Bucket, state: StudyState, folder: Path) -> None:
    """Let the script's Tuner answer with the trials of the study.

    Keras Tuner's own `get_best_models`, `get_best_hyperparameters`, `results_summary` and `oracle.get_best_trials` then
    work, because they ask the oracle and `load_model`.

    Args:
        search: The script's search.
        bucket: Bucket of the study.
        state: The study, whose search has finished.
        folder: Folder for downloaded models.
    """
    oracle = search.tuner.oracle
    space, objective = oracle.get_space(), state.objective
    trials = {trial.trial_id: keras_tuner_trial(trial, objective, space) for trial in state.trials.values()}
    best_first = [trials[trial.trial_id] for trial in state.ranking()]

    def get_best_trials(num_trials: int = 1) -> list[Any]:
        return best_first[:num_trials]

    def load_model(trial: Any) -> keras.Model:
        name = state.trials[names.TrialId(trial.trial_id)].checkpoint
        file = folder / "model.keras"
        try:
            if name is None:
                raise ObjectNotFoundError
            bucket.download(name, file)
        except ObjectNotFoundError:
            raise ScriptError(
                f"the bucket has no model of trial {trial.trial_id}, because it keeps those of the best two trials. "
                "Load at most two models (get_best_models)."
            ) from None
        try:
            return models.load_model(search, trial.hyperparameters, file)
        except Exception as error:
            raise ScriptError(
                f"the model of trial {trial.trial_id} cannot be built again: {cause_of(error)}"
            ) from error
        finally:
            file.unlink()

    use_objective(search, objective)
    oracle.trials = trials
    oracle.get_best_trials = get_best_trials
    search.load_model = load_model
