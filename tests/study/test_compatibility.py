"""A study goes on with other settings only if its results stay comparable."""

import pytest

from tests.config.test_settings import error_of
from tuner.config.loading import load
from tuner.config.settings import Algorithm, Study
from tuner.study.compatibility import check_resume


def study(*settings: str) -> Study:
    return load(settings=settings)


@pytest.mark.parametrize(
    "change",
    [
        "retries.failure=5", "leases.duration_s=60", "evaluation.batch_size=50", "data.source=elsewhere.zip",
        "space.code=elsewhere", "search.max_trials=11", "search.max_hours=1.5", "search.max_worker_hours=8",
        "search.target=0.9", "search.patience_trials=20", "search.grace_minutes=1", "cost.per_worker_hour=2",
        "search.finalists=3",
    ],
)  # fmt: skip
@pytest.mark.parametrize("algorithm", list(Algorithm))
def test_a_study_goes_on_with_more_trials_and_with_settings_no_result_depends_on(
    algorithm: Algorithm, change: str
) -> None:
    begun = f"search.algorithm={algorithm}"
    check_resume(study(begun), study(begun, change))


def test_limits_may_grow_and_be_removed() -> None:
    limited = study("search.max_hours=1", "training.max_minutes=5", "search.max_trials=4")
    check_resume(limited, study("search.max_hours=2", "training.max_minutes=6", "search.max_trials=5"))
    check_resume(limited, study("search.max_hours=2"))
    check_resume(study(), study("search.max_hours=2"))
    assert "training.max_minutes was 5.0, is now 4.0" in error_of(
        check_resume, limited, study("search.max_hours=1", "training.max_minutes=4", "search.max_trials=4")
    )
    message = error_of(check_resume, study("search.max_hours=2"), study("search.max_trials=99"))
    assert "search.max_trials was null, is now 99" in message


PACKING = ["data.resize=[4, 6]", "data.convert=true", "data.labels=a.csv", "data.test=0.5", "data.columns.label=kind"]


@pytest.mark.parametrize("change", PACKING)
def test_how_a_study_was_packed_may_be_left_out_with_its_source(change: str) -> None:
    """It keeps its data set. With the source, the setting would give another one."""
    begun = study("data.source=a.zip", change)
    check_resume(begun, study())
    check_resume(begun, study("data.source=b.zip", change))
    key = change.partition("=")[0]
    assert f"{key} was" in error_of(check_resume, begun, study("data.source=a.zip"))


@pytest.mark.parametrize(
    "change",
    [
        "seed=2", "data.batch_size=64", "data.validation=0.2", "space.name=other", "space.import=my:Space",
        "space.values={width: 3}",
        "search.algorithm=bayesian", "search.objective=val_loss", "search.direction=max", "training.patience=2",
        "search.max_trials=9", "training.epochs=9", "search.early_stopping.policy=none",
        "search.initial_points=3", "search.first=[default]", "search.learn_from=[before]",
        "search.constraints.parameters=9",
        "search.early_stopping.min_epochs=2", "search.early_stopping.reduction_factor=4", "training.max_minutes=5",
    ],
)  # fmt: skip
def test_a_study_does_not_go_on_with_settings_its_results_depend_on(change: str) -> None:
    key = change.partition("=")[0]
    assert key in error_of(check_resume, study(), study(change))


@pytest.mark.parametrize("algorithm", [Algorithm.RANDOM, Algorithm.GRID])
def test_trials_that_train_for_themselves_may_train_longer(algorithm: Algorithm) -> None:
    check_resume(study(f"search.algorithm={algorithm}"), study(f"search.algorithm={algorithm}", "training.epochs=11"))


@pytest.mark.parametrize("algorithm", [Algorithm.BAYESIAN, Algorithm.TPE, Algorithm.HYPERBAND])
def test_trials_that_are_compared_while_searching_may_not_train_longer(algorithm: Algorithm) -> None:
    begun = f"search.algorithm={algorithm}"
    message = error_of(check_resume, study(begun), study(begun, "training.epochs=11"))
    assert "training.epochs was 10, is now 11" in message


def test_a_refusal_names_the_study_each_setting_and_both_values() -> None:
    message = error_of(check_resume, study("name=mine"), study("name=mine", "data.batch_size=64", "seed=2"))
    assert "study 'mine'" in message
    assert "data.batch_size was 128, is now 64" in message
    assert "seed was 1, is now 2" in message
    assert "choose another `name`" in message
