"""The format of settings, which readers of format 1.x ignore if they may, and refuse if they must not.

tests/compatibility/test_rollback.py shows what release 0.1.0 makes of it.
"""

import pytest

from tuner.config.formats import COMPATIBLE, FORMAT
from tuner.config.loading import load
from tuner.study.needed_format import DECISIVE, chief_format, worker_format

NEW = {
    "data.own": ["data.own=true", "space.import=mine:Space"],
    "search.confirm.seeds": ["search.confirm.seeds=1"],
    "search.constraints.parameters": ["search.constraints.parameters=1000"],
    "search.first": ["search.first=[default]"],
    "search.hyperband.factor": ["search.hyperband.factor=4"],
    "search.hyperband.iterations": ["search.hyperband.iterations=2"],
    "search.learn_from": ["search.learn_from=[night]"],
    "search.max_hours": ["search.max_hours=1"],
    "search.max_worker_hours": ["search.max_worker_hours=1"],
    "search.patience_trials": ["search.patience_trials=3"],
    "search.target": ["search.target=0.9"],
    "space.script": ["space.script=tune.py"],
    "training.max_minutes": ["training.max_minutes=9"],
}
RANDOM = ("search.algorithm=random", "search.max_trials=9")


def test_each_decisive_setting_has_an_example() -> None:
    assert NEW.keys() == {*DECISIVE}


@pytest.mark.parametrize("key", NEW)
def test_a_decisive_setting_has_the_newest_format(key: str) -> None:
    assert chief_format(load(settings=[*RANDOM, *NEW[key]]), 1) == FORMAT
    trains_otherwise = key in ("data.own", "space.script")
    assert worker_format(load(settings=[*RANDOM, *NEW[key]]), 1) == (FORMAT if trains_otherwise else COMPATIBLE)


@pytest.mark.parametrize("algorithm", ["random", "grid", "hyperband"])
def test_settings_of_the_first_version_and_those_that_change_no_trial_are_compatible(algorithm: str) -> None:
    study = load(settings=[f"search.algorithm={algorithm}", "cost.per_worker_hour=2", "training.devices=1"])
    assert chief_format(study, 1) == worker_format(study, 1) == COMPATIBLE


@pytest.mark.parametrize(
    ("settings", "of_worker"),
    [
        (["search.algorithm=tpe"], FORMAT),
        (["search.algorithm=bayesian"], COMPATIBLE),  # workers know it, and it suggests other trials
        ([*RANDOM, "search.early_stopping.policy=promotion"], FORMAT),
        (["search.algorithm=random", "search.max_hours=2"], FORMAT),  # it has no max_trials
    ],
)
def test_algorithms_and_policies_that_the_first_version_does_not_have(settings: list[str], of_worker: str) -> None:
    study = load(settings=settings)
    assert (chief_format(study, 1), worker_format(study, 1)) == (FORMAT, of_worker)


def test_other_networks_of_a_built_in_space_have_the_newest_format() -> None:
    study = load(settings=RANDOM)
    assert chief_format(study, 2) == worker_format(study, 2) == FORMAT
