"""A study goes on with other settings only if its results stay comparable."""

import pytest

from tests.config.test_settings import error_of
from tuner.config.loading import load
from tuner.config.settings import Algorithm, Study
from tuner.study import compatibility
from tuner.study.compatibility import changed_effects, with_algorithm
from tuner.study.records import Opened
from tuner.study.state import StudyState


def study(*settings: str) -> Study:
    return load(settings=settings)


def check_resume(recorded: Study, requested: Study, trials: int = 0) -> None:
    compatibility.check_resume(recorded, requested, trials)


@pytest.mark.parametrize(
    "change",
    [
        "retries.failure=5", "leases.duration_s=60", "evaluation.batch_size=50", "data.source=elsewhere.zip",
        "space.code=elsewhere", "search.max_trials=11", "search.max_hours=1.5", "search.max_worker_hours=8",
        "search.target=0.9", "search.patience_trials=20", "search.grace_minutes=1", "cost.per_worker_hour=2",
        "tracking.mlflow=http://mlflow:5000", "search.finalists=3", "training.compilation_cache_mb=0",
        "training.devices=2",
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


@pytest.mark.parametrize("budget", ["search.max_hours=1", "search.target=0.9"])
def test_the_last_budget_may_be_removed_or_replaced_by_a_number_of_trials(budget: str) -> None:
    check_resume(study(budget), study(), 10)
    check_resume(study(budget), study("search.max_trials=50"), 50)
    message = error_of(check_resume, study(budget), study(), 11)
    assert f"was limited by {budget.partition('=')[0]} and not by search.max_trials, which is 10 now" in message
    assert "Set search.max_trials to 11 or more" in message
    check_resume(study(budget), study("search.max_trials=11"), 11)


def test_a_limit_of_trials_that_appears_or_disappears_with_a_budget_is_reported() -> None:
    def effects(before: Study, now: Study) -> list[str]:
        state = StudyState()
        state.apply(Opened(at=0, term=1, writer="w", study=before, data="d", direction="max"))
        return changed_effects(state, now)

    (lifted,) = effects(study(), study("search.max_hours=1"))
    assert "search.max_trials was 10, and the number of trials is not limited now, because search.max_hours" in lifted
    assert "set search.max_trials=10" in lifted
    (limited,) = effects(study("search.max_hours=1"), study())
    assert "search.max_trials is now 10" in limited
    assert effects(study(), study("search.max_hours=1", "search.max_trials=10")) == []
    assert effects(study(), study("search.max_trials=12")) == []


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
        "search.constraints.parameters=9", "search.confirm.best=4", "search.confirm.seeds=3",
        "search.early_stopping.min_epochs=2", "search.early_stopping.reduction_factor=4", "training.max_minutes=5",
    ],
)  # fmt: skip
def test_a_study_does_not_go_on_with_settings_its_results_depend_on(change: str) -> None:
    key = change.partition("=")[0]
    assert key in error_of(check_resume, study(), study(change))


def test_the_default_algorithm_is_tpe_and_a_study_that_began_with_random_keeps_it() -> None:
    assert with_algorithm(study(), None).search.algorithm is Algorithm.TPE
    assert with_algorithm(study("search.algorithm=random"), None).search.algorithm is Algorithm.RANDOM
    for algorithm in (Algorithm.RANDOM, Algorithm.TPE):
        begun = study(f"search.algorithm={algorithm}")
        assert with_algorithm(study(), begun).search.algorithm is algorithm
        check_resume(begun, study("training.epochs=11"))
    for algorithm in (Algorithm.BAYESIAN, Algorithm.GRID, Algorithm.HYPERBAND):
        begun = study(f"search.algorithm={algorithm}")
        expected = f'search.algorithm was "{algorithm}", is now "tpe"'
        assert expected in error_of(check_resume, begun, study()), "it was chosen, so leaving it out is a change"


@pytest.mark.parametrize("algorithm", [Algorithm.AUTO, Algorithm.RANDOM, Algorithm.GRID, Algorithm.TPE])
def test_trials_that_are_compared_only_by_rank_may_train_longer(algorithm: Algorithm) -> None:
    check_resume(study(f"search.algorithm={algorithm}"), study(f"search.algorithm={algorithm}", "training.epochs=11"))


@pytest.mark.parametrize("algorithm", [Algorithm.BAYESIAN, Algorithm.HYPERBAND])
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
