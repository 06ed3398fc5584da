"""The settings of a study that a script's Tuner stands for, and the study that they and the user's settings result in.

Defaults < script < study.yaml < environment < `--set`.
"""

import inspect
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import keras
from keras_tuner import oracles
from keras_tuner.src.engine.objective import Objective

from tuner.config.loading import overriding, parse
from tuner.config.section import MANY
from tuner.config.settings import Algorithm, Study
from tuner.errors import ScriptError
from tuner.scripts.entry_points import given_seed
from tuner.scripts.session import ScriptSearch
from tuner.study.objective import Objective as StudyObjective

ALGORITHMS = {
    oracles.RandomSearchOracle: Algorithm.RANDOM,
    oracles.BayesianOptimizationOracle: Algorithm.BAYESIAN,
    oracles.HyperbandOracle: Algorithm.HYPERBAND,
    oracles.GridSearchOracle: Algorithm.GRID,
}
_BAYESIAN = {"alpha": 1e-4, "beta": 2.6}
"""Arguments of Keras Tuner's Bayesian oracle that no setting stands for, with their defaults."""


@dataclass(frozen=True)
class ScriptStudy:
    """The study that a script and the user's settings result in."""

    study: Study
    overridden: tuple[str, ...]
    """A sentence for each value of the script that a setting of the user overrides."""


def study_of(search: ScriptSearch, given: Mapping[str, Any]) -> ScriptStudy:
    """Return the study of a script.

    Args:
        search: The script's call of `search()`.
        given: The settings of the user, without defaults, with the keys of study.yaml.

    Raises:
        ScriptError: The Tuner searches in a way that cannot be distributed.
        ConfigError: A setting of the user is invalid, or does not fit the script.
    """
    values = script_values(search)
    study = parse(overriding(values, given), "the script with the settings")
    return ScriptStudy(study, tuple(_overridden(values, given)))


def script_values(search: ScriptSearch) -> dict[str, Any]:
    """Return the settings that the script's Tuner stands for, with the keys of study.yaml. Raises ScriptError."""
    oracle = search.tuner.oracle
    algorithm = ALGORITHMS.get(type(oracle))
    if algorithm is None:
        raise ScriptError(
            f"the oracle {type(oracle).__name__} cannot be distributed. Use one of "
            f"{', '.join(kind.__name__ for kind in ALGORITHMS)}, or run the script with Keras Tuner."
        )
    searching: dict[str, Any] = {
        "algorithm": algorithm.value,
        **_objective(oracle.objective),
        "max_consecutive_failures": oracle.max_consecutive_failed_trials,
    }
    training: dict[str, Any] = {}
    if algorithm is Algorithm.HYPERBAND:
        if oracle.hyperband_iterations == float("inf"):
            raise ScriptError("hyperband_iterations must be a number, because the search would not end.")
        searching["hyperband"] = {"factor": oracle.factor, "iterations": oracle.hyperband_iterations}
        training["epochs"] = oracle.max_epochs
    else:
        # Keras Tuner tries all combinations of a grid if max_trials is not given
        searching["max_trials"] = MANY if oracle.max_trials is None else oracle.max_trials
        training["epochs"] = epochs_of(search)
    if algorithm is Algorithm.BAYESIAN:
        changed = [name for name, default in _BAYESIAN.items() if getattr(oracle, name) != default]
        if changed:
            raise ScriptError(f"{' and '.join(changed)} of the Bayesian oracle cannot be set here. Remove them.")
        if oracle.num_initial_points is not None:
            searching["initial_points"] = oracle.num_initial_points
    seed = given_seed(oracle)
    return {
        "search": searching,
        "training": training,
        "retries": {"failure": oracle.max_retries_per_trial},
        **({"seed": seed} if seed else {}),
    }


def _objective(objective: Objective) -> dict[str, Any]:
    return {"objective": objective.name, "direction": objective.direction}


def use_objective(search: ScriptSearch, objective: StudyObjective) -> None:
    """Let the script's Tuner compare by the study's objective, which a setting may override."""
    own = search.tuner.oracle.objective
    if (own.name, own.direction) != (objective.name, objective.direction):
        search.tuner.oracle.objective = Objective(objective.name, objective.direction)


def epochs_of(search: ScriptSearch) -> int:
    """Return the number of epochs that the script gives to `search()`. Keras's default is 1."""
    named = search.kwargs.get("epochs")
    position = positional_epochs(search)
    epochs = named if named is not None else 1 if position is None else search.args[position]
    return int(epochs)


def positional_epochs(search: ScriptSearch) -> int | None:
    """Return the position of the number of epochs among the arguments of `search()`; None if it is not there."""
    names = [name for name in inspect.signature(keras.Model.fit).parameters if name != "self"]
    position = names.index("epochs")
    return position if len(search.args) > position else None


def _overridden(values: Mapping[str, Any], given: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in values.items():
        if key not in given:
            continue
        if isinstance(value, Mapping) and isinstance(given[key], Mapping):
            yield from _overridden(value, given[key], f"{prefix}{key}.")
        elif given[key] != value:
            yield f"{prefix}{key} is {json.dumps(given[key])} instead of the script's {json.dumps(value)}"
