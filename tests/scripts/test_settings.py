"""A script's Tuner sets the study's settings, and the user's settings override them by name."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.scripts.scripts import RANDOM, SEARCH, flat, searched
from tuner.config.settings import Algorithm, Direction
from tuner.errors import ConfigError, ScriptError
from tuner.rpc.lease_service import Joined
from tuner.scripts.settings import ScriptStudy, script_values, study_of, use_objective
from tuner.scripts.training import ScriptTrainer
from tuner.search.suggester import objective_of
from tuner.worker.context import _of_script

GIVEN = {"space": {"script": "tune.py"}}


def values(folder: Path, body: str) -> dict[str, Any]:
    return flat(searched(folder, body, script_values))


def study(folder: Path, given: dict[str, Any]) -> ScriptStudy:
    study: ScriptStudy = searched(folder, RANDOM + SEARCH, lambda search: study_of(search, GIVEN | given))
    return study


def test_a_random_search_sets_its_trials_objective_seed_and_epochs(tmp_path: Path) -> None:
    assert values(tmp_path, RANDOM + SEARCH) == {
        "seed": 5,
        "search.algorithm": "random",
        "search.max_trials": 7,
        "search.objective": "val_loss",
        "search.direction": "min",
        "search.max_consecutive_failures": 3,
        "training.epochs": 2,
        "retries.failure": 0,
    }


def test_without_a_seed_of_the_script_the_studys_default_counts(tmp_path: Path) -> None:
    assert "seed" not in values(tmp_path, "tuner = keras_tuner.RandomSearch(build, 'val_loss')\n" + SEARCH)


def test_hyperband_sets_its_brackets(tmp_path: Path) -> None:
    body = "tuner = keras_tuner.Hyperband(build, 'val_loss', max_epochs=9, factor=2, hyperband_iterations=3)\n"
    given = values(tmp_path, body + "tuner.search(x, y, validation_data=(x, y))")
    assert {key: given[key] for key in ("search.algorithm", "training.epochs")} == {
        "search.algorithm": "hyperband",
        "training.epochs": 9,
    }
    assert (given["search.hyperband.factor"], given["search.hyperband.iterations"]) == (2, 3)


def test_bayesian_optimization_sets_its_initial_points_and_retries(tmp_path: Path) -> None:
    body = (
        "tuner = keras_tuner.BayesianOptimization(build, 'val_loss', num_initial_points=4, max_retries_per_trial=2)\n"
    )
    given = values(tmp_path, body + SEARCH)
    assert (given["search.algorithm"], given["search.initial_points"], given["retries.failure"]) == ("bayesian", 4, 2)


def test_a_grid_without_a_maximum_tries_everything(tmp_path: Path) -> None:
    assert (
        values(tmp_path, "tuner = keras_tuner.GridSearch(build, 'val_loss')\n" + SEARCH)["search.max_trials"] >= 10**6
    )


def test_the_direction_of_an_objective_counts(tmp_path: Path) -> None:
    objective = "keras_tuner.Objective('val_own', 'max')"
    given = values(tmp_path, f"tuner = keras_tuner.RandomSearch(build, {objective})\n" + SEARCH)
    assert (given["search.objective"], given["search.direction"]) == ("val_own", "max")


@pytest.mark.parametrize(
    ("arguments", "epochs"), [("x, y, 4, 6", 6), ("x, y", 1), ("x, y, epochs=3", 3)], ids=["position", "none", "name"]
)
def test_the_epochs_are_those_of_search(arguments: str, epochs: int, tmp_path: Path) -> None:
    assert values(tmp_path, RANDOM + f"tuner.search({arguments})")["training.epochs"] == epochs


def test_a_setting_of_the_user_overrides_the_script_and_is_named(tmp_path: Path) -> None:
    done = study(tmp_path, {"search": {"max_trials": 3, "objective": "loss"}, "training": {"epochs": 9}})
    assert (done.study.search.max_trials, done.study.training.epochs, done.study.seed) == (3, 9, 5)
    assert done.overridden == (
        'search.objective is "loss" instead of the script\'s "val_loss"',
        "search.max_trials is 3 instead of the script's 7",
        "training.epochs is 9 instead of the script's 2",
    )


def test_another_objective_does_not_keep_the_scripts_direction(tmp_path: Path) -> None:
    body = "tuner = keras_tuner.RandomSearch(build, 'val_accuracy', seed=5)\n" + SEARCH

    def direction(given: dict[str, str]) -> tuple[Direction, str]:
        search = searched(tmp_path, body)
        settings = study_of(search, GIVEN | {"search": given}).study.search
        use_objective(search, objective_of(settings))
        return settings.direction, search.tuner.oracle.objective.direction

    assert direction({"objective": "val_loss"}) == (Direction.AUTO, "min")
    assert direction({"objective": "val_accuracy"}) == (Direction.MAX, "max")
    assert direction({"objective": "val_loss", "direction": "max"}) == (Direction.MAX, "max")


def test_a_worker_compares_epochs_by_the_objective_of_the_study(tmp_path: Path) -> None:
    search = searched(tmp_path, RANDOM + SEARCH)
    joined = SimpleNamespace(
        study=study_of(search, GIVEN | {"search": {"objective": "val_mae"}}).study, direction="min"
    )
    trainer = _of_script(cast("Joined", joined), search).trainer
    assert isinstance(trainer, ScriptTrainer)
    assert trainer.search.tuner.oracle.objective.name == "val_mae"


def test_the_script_overrides_the_defaults_silently(tmp_path: Path) -> None:
    done = study(tmp_path, {})
    assert done.study.search.algorithm is Algorithm.RANDOM
    assert (done.study.search.max_trials, done.study.data.own, done.overridden) == (7, True, ())


def test_an_invalid_setting_of_the_user_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"search\.max_trials"):
        study(tmp_path, {"search": {"max_trials": 0}})


@pytest.mark.parametrize(
    ("construct", "sentence"),
    [
        ("keras_tuner.Tuner(Own('val_loss', max_trials=2), build)", "the oracle Own cannot be distributed"),
        ("keras_tuner.BayesianOptimization(build, 'val_loss', beta=1.0)", "beta of the Bayesian oracle cannot"),
        (
            "keras_tuner.Hyperband(build, 'val_loss', hyperband_iterations=None)",
            "hyperband_iterations must be",
        ),
    ],
)
def test_what_cannot_be_searched_is_refused_before_the_first_trial(
    construct: str, sentence: str, tmp_path: Path
) -> None:
    own = "class Own(keras_tuner.oracles.RandomSearchOracle):\n    pass\n"
    with pytest.raises(ScriptError, match=sentence):
        values(tmp_path, f"{own}tuner = {construct}\n" + SEARCH)
