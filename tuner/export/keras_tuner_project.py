"""Exports a study as a project of plain Keras Tuner, on which `tuner.reload()` and `get_best_models()` work.

The files are written with Keras Tuner's own classes, so they have the format of the installed version. The checkpoint
of a trial is the file of weights within the saved model.
"""

import json
import shutil
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras_tuner
from keras_tuner import oracles
from keras_tuner.engine.trial import TrialStatus

from tuner import names
from tuner.bucket import Bucket
from tuner.errors import BucketError, DataError, NoResultError, SpaceError
from tuner.evaluation.trained_model import data_facts
from tuner.search.keras_tuner_trials import keras_tuner_trial
from tuner.spaces import load_space_for, narrow
from tuner.spaces.exploration import explore
from tuner.study.state import StudyState

TUNER_ID = "tuner0"
"""Id of the tuner of a process that is not distributed, which names the file of its state."""
WEIGHTS, CONFIG, SHAPES = "model.weights.h5", "config.json", "build_config.json"
"""Members of a saved model: those of Keras, and what a script's model has instead of the configuration."""


@dataclass(frozen=True)
class ExportedProject:
    """What was written."""

    trials: int
    models: int
    """Number of trials whose weights were written. The bucket keeps the models of the best trials only."""
    left_out: int
    """Number of trials that have not ended."""


def export_project(bucket: Bucket, state: StudyState, folder: Path) -> ExportedProject:
    """Write the trials that have ended, with the weights of those whose models are in the bucket, to an empty folder.

    Repetitions of trials (search.confirm) are left out, because Keras Tuner does not compare means. Raises
    NoResultError if no trial has ended, and BucketError if a model is damaged.
    """
    trials = [trial for trial in state.suggested if trial.ended is not None]
    if not trials:
        raise NoResultError(
            f"study {state.settings.name!r} has no trial that has ended, so there is nothing to export."
        )
    objective, space = state.objective, _space(bucket, state)
    oracle = oracles.RandomSearchOracle(
        objective=keras_tuner.Objective(objective.name, objective.direction),
        max_trials=len(trials),
        seed=state.settings.seed,
        hyperparameters=space,
    )
    existing = set(bucket.list(names.trials_prefix(state.settings.name)))
    models = 0
    for trial in trials:
        exported = keras_tuner_trial(trial, objective, space)
        oracle.trials[trial.trial_id] = exported
        oracle.start_order.append(trial.trial_id)
        # so that a continued search does not suggest it again
        oracle._id_to_hash[trial.trial_id] = oracle._compute_values_hash(trial.chosen)
        place = folder / f"trial_{trial.trial_id}"
        place.mkdir()
        exported.save(str(place / "trial.json"))
        if trial.checkpoint in existing and exported.status == TrialStatus.COMPLETED:
            _write_weights(bucket, trial.checkpoint, place)
            models += 1
    oracle._tried_so_far.update(oracle._id_to_hash.values())
    oracle.end_order += [trial_id for trial_id in state.ended if trial_id in oracle.trials]
    _write_json(folder / "oracle.json", _other_algorithms(state) | oracle.get_state())
    _write_json(folder / f"{TUNER_ID}.json", {})
    return ExportedProject(len(trials), models, len(state.suggested) - len(trials))


def _space(bucket: Bucket, state: StudyState) -> keras_tuner.HyperParameters:
    """Return the hyperparameters that the study searches; none if the code of its space is not on this machine."""
    settings = state.settings
    try:
        facts = data_facts(bucket, state)
        whole = explore(load_space_for(settings.space, facts), facts.image_shape if facts else None)
        return narrow(whole, settings.space.values)
    except (SpaceError, BucketError, DataError):  # Keras Tuner declares them again when it builds a model
        return keras_tuner.HyperParameters()


def _other_algorithms(state: StudyState) -> dict[str, Any]:
    """Return what Keras Tuner's other oracles expect in the file, so that the project can be opened with any Tuner."""
    objective = keras_tuner.Objective(state.objective.name, state.objective.direction)
    bayesian = oracles.BayesianOptimizationOracle(objective=objective)
    hyperband = oracles.HyperbandOracle(objective=objective, max_epochs=max(2, state.settings.training.epochs))
    return {**bayesian.get_state(), **hyperband.get_state()}


def _write_weights(bucket: Bucket, checkpoint: str, folder: Path) -> None:
    """Write the weights of a saved model, and the shapes with which a model without an input shape is built."""
    saved = folder / "saved.keras"
    bucket.download(checkpoint, saved)
    try:
        with zipfile.ZipFile(saved) as archive:
            with archive.open(WEIGHTS) as source, (folder / "checkpoint.weights.h5").open("wb") as target:
                shutil.copyfileobj(source, target)
            is_whole = CONFIG in archive.namelist()  # a script's model has the weights and these shapes only
            built = json.loads(archive.read(CONFIG if is_whole else SHAPES))
            built = built.get("build_config") if is_whole else built
    except (zipfile.BadZipFile, KeyError, ValueError, AttributeError) as error:
        raise BucketError(f"{bucket.url}: {checkpoint} is not a saved model ({error}). Restore this object.") from None
    finally:
        saved.unlink()
    if built:
        _write_json(folder / "build_config.json", built)


def _write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content), encoding="utf-8")
