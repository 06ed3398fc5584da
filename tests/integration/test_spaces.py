"""Users' own models and data: what they tune in `fit`; three classes."""

import json
from collections.abc import Iterator

import pytest

from tests.integration.reproduce import assert_trains_again
from tests.integration.support import Done, Place, coloured_images, place, settings, space
from tuner import names
from tuner.study.records import TrialState


# ---- hyperband, over a HyperModel that overrides fit ----------------------------------------------
@pytest.fixture(scope="module")
def hyperband(tmp_path_factory: pytest.TempPathFactory, two_colours: str) -> Iterator[tuple[Place, Done]]:
    with place(tmp_path_factory.mktemp("hyperband")) as new_place:
        done = new_place.do(
            *("run", "--data", two_colours, *space("TunedFit")),
            *settings(search__algorithm="hyperband", training__epochs=4, evaluation__robustness_images=0),
        )
        yield new_place, done


def test_hyperband_ends_with_an_evaluation(hyperband: tuple[Place, Done]) -> None:
    place, done = hyperband
    assert done.code == 0, done.err
    assert {trial.state for trial in place.state().trials.values()} == {TrialState.COMPLETED}


def test_hyperband_trains_the_best_of_a_rung_further_from_where_they_were(hyperband: tuple[Place, Done]) -> None:
    trials = hyperband[0].state().trials
    further = [trial for trial in trials.values() if trial.hyperparameters.get("tuner/trial_id")]
    assert further
    for trial in further:
        first, last = int(trial.hyperparameters["tuner/initial_epoch"]), int(trial.hyperparameters["tuner/epochs"])
        assert sorted(trial.epochs) == list(range(first, last))
        parent = trials[names.TrialId(str(trial.hyperparameters["tuner/trial_id"]))]
        assert parent.hyperparameters["units"] == trial.hyperparameters["units"]


def test_the_best_trial_is_trained_again_through_all_its_rungs(hyperband: tuple[Place, Done]) -> None:
    assert_trains_again(hyperband[0], workers=1)


def test_a_hyperparameter_of_fit_is_searched(hyperband: tuple[Place, Done]) -> None:
    values = {trial.hyperparameters["batch_size"] for trial in hyperband[0].state().trials.values()}
    assert values == {16, 32}


# ---- three classes --------------------------------------------------------------------------------
def test_the_built_in_space_learns_three_classes_of_larger_images(place: Place) -> None:
    images = coloured_images(place.folder / "images", classes=3, per_class=60, test=20, side=40)
    done = place.do(
        *("run", "--data", str(images)),
        *settings(search__max_trials=1, training__epochs=3, data__batch_size=16, data__validation=0.2),
        *settings(evaluation__robustness_images=0),
        *settings(space__values="{filters: 20, units_1: 100, units_2: 100, optimizer: adam, learning_rate: 0.001}"),
    )
    assert done.code == 0, done.err
    metrics = json.loads(place.bucket.read(names.evaluation(place.study, names.METRICS_JSON)))
    assert metrics["classes"] == ["class-0", "class-1", "class-2"]
    assert [len(row) for row in metrics["confusion_matrix"]] == [3, 3, 3]
    assert [sum(row) for row in metrics["confusion_matrix"]] == [20, 20, 20]
    assert metrics["accuracy"] > 0.6  # by chance: a third
