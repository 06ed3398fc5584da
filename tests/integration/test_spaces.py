"""Users' own models and data: what they tune in `fit`, three classes, trials that fail."""

import json
from collections.abc import Iterator

import pytest

from tests.integration.support import Done, Place, coloured_images, place, settings, space
from tuner import names
from tuner.trials import TrialState


# ---- hyperband, over a HyperModel that overrides fit ----------------------------------------------
@pytest.fixture(scope="module")
def hyperband(tmp_path_factory: pytest.TempPathFactory, two_colours: str) -> Iterator[tuple[Place, Done]]:
    with place(tmp_path_factory.mktemp("hyperband")) as made:
        done = made.do(
            *("run", "--data", two_colours, "--workers", "2", *space("TunedFit")),
            *settings(search__algorithm="hyperband", training__epochs=4),
        )
        yield made, done


def test_hyperband_ends_with_an_evaluation(hyperband: tuple[Place, Done]) -> None:
    made, done = hyperband
    assert done.code == 0, done.err
    assert {trial.state for trial in made.state().trials.values()} == {TrialState.COMPLETED}


def test_hyperband_trains_the_best_of_a_rung_further_from_where_they_were(hyperband: tuple[Place, Done]) -> None:
    trials = hyperband[0].state().trials
    further = [trial for trial in trials.values() if trial.hyperparameters.get("tuner/trial_id")]
    assert further
    for trial in further:
        first, last = int(trial.hyperparameters["tuner/initial_epoch"]), int(trial.hyperparameters["tuner/epochs"])
        assert sorted(trial.epochs) == list(range(first, last))
        parent = trials[names.TrialId(str(trial.hyperparameters["tuner/trial_id"]))]
        assert parent.hyperparameters["units"] == trial.hyperparameters["units"]


def test_a_hyperparameter_of_fit_is_searched(hyperband: tuple[Place, Done]) -> None:
    values = {trial.hyperparameters["batch_size"] for trial in hyperband[0].state().trials.values()}
    assert values == {16, 32}


# ---- three classes --------------------------------------------------------------------------------
def test_the_built_in_space_learns_three_classes_of_larger_images(place: Place) -> None:
    images = coloured_images(place.folder / "images", classes=3, per_class=60, test=20, side=64)
    done = place.do(
        *("run", "--data", str(images)),
        *settings(search__max_trials=2, training__epochs=3, data__batch_size=16, data__validation=0.2),
    )
    assert done.code == 0, done.err
    metrics = json.loads(place.bucket.read(names.evaluation(place.study, names.METRICS_JSON)))
    assert metrics["classes"] == ["class-0", "class-1", "class-2"]
    assert [len(row) for row in metrics["confusion_matrix"]] == [3, 3, 3]
    assert [sum(row) for row in metrics["confusion_matrix"]] == [20, 20, 20]
    assert metrics["accuracy"] > 0.6  # by chance: a third


# ---- failures -------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def moody(tmp_path_factory: pytest.TempPathFactory, two_colours: str) -> Iterator[tuple[Place, Done]]:
    with place(tmp_path_factory.mktemp("moody")) as made:
        done = made.do(
            *("run", "--data", two_colours, *space("Moody")),
            *settings(search__algorithm="grid", training__epochs=1),
        )
        yield made, done


def test_trials_that_fail_do_not_end_the_search(moody: tuple[Place, Done]) -> None:
    made, done = moody
    assert done.code == 0, done.err
    states = {trial.hyperparameters["mood"]: trial.state.value for trial in made.state().trials.values()}
    failed = dict.fromkeys(("raises", "nan", "memory"), "FAILED")
    assert states == {"good": "COMPLETED", "fine": "COMPLETED", **failed}


def test_a_failed_trial_says_why(moody: tuple[Place, Done]) -> None:
    trials = {trial.hyperparameters["mood"]: trial for trial in moody[0].state().trials.values()}
    assert trials["raises"].reason.startswith("ValueError: this layer does not fit")
    assert "user_spaces.py" in trials["raises"].reason
    assert trials["nan"].reason.startswith("the loss became nan in epoch 1")
    assert trials["memory"].reason.startswith("MemoryError: no room for 10 TB")


def test_each_kind_of_failure_has_its_own_number_of_tries(moody: tuple[Place, Done]) -> None:
    attempts = {trial.hyperparameters["mood"]: trial.attempts for trial in moody[0].state().trials.values()}
    assert attempts == {"good": 1, "fine": 1, "raises": 2, "nan": 1, "memory": 2}


def test_a_search_whose_trials_all_fail_ends_with_the_first_error(place: Place, two_colours: str) -> None:
    done = place.do("run", "--data", two_colours, *space("Hopeless"), *settings(retries__failure=0))
    assert done.code == 4
    assert done.err.startswith("error: ")
    assert "3 trials failed one after the other" in done.err
    assert "is not my lucky number" in done.err
    assert "Traceback" not in done.err
    assert done.err.count("\n") == 1
    assert list(place.bucket.list(names.evaluation(place.study))) == []


def test_an_objective_that_the_model_lacks_is_answered_with_those_that_it_has(place: Place, two_colours: str) -> None:
    done = place.do("run", "--data", two_colours, *space("Tiny"), *settings(search__objective="val_auc"))
    assert done.code == 4
    assert "search.objective is 'val_auc', and the model reports accuracy, loss, val_accuracy, val_loss" in done.err
    assert done.err.count("\n") == 1


def test_a_model_that_cannot_be_built_ends_the_run_at_once(place: Place, two_colours: str) -> None:
    done = place.do("run", "--data", two_colours, *space("Unbuildable"))
    assert done.code == 2
    assert done.err.startswith("error: ")
    assert "KeyError: 'my_setting'" in done.err
    assert "Traceback" not in done.err
    assert done.err.count("\n") == 1
