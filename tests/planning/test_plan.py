"""What a plan says of a search, from the speed of some models."""

import math

import keras_tuner
import pytest

from tuner.config.loading import load
from tuner.planning.expected_epochs import expected_epochs
from tuner.planning.plan import Place, Plan, make_plan
from tuner.planning.space_summary import SpaceSummary, summarize, within
from tuner.planning.timed_models import TimedModel, sampled
from tuner.spaces.checkpoint_size import CheckpointSize
from tuner.spaces.model_size import ModelSize, SpaceSize

HOUR = 3600.0


def _size(parameters: int, checkpoint_bytes: int) -> ModelSize:
    return ModelSize(parameters, CheckpointSize(checkpoint_bytes, 0))


SPACE = SpaceSummary({"units": "1 to 9"}, 9, SpaceSize(_size(10, 1000), _size(10**9, 12 * 10**9)), 5)
ENDLESS = SpaceSummary({"rate": "0 to 1"}, math.inf, SPACE.size, 5)
HERE = Place(workers=2, data_bytes=10**6, memory_bytes=10**12, used_bytes=10**9)


def model(epoch_s: float = 60.0, start_s: float = 0.0) -> TimedModel:
    return TimedModel({"units": 3}, 10, 1000, start_s, epoch_s / 100, epoch_s)


def planned(*settings: str, space: SpaceSummary = ENDLESS, place: Place = HERE, **speed: float) -> Plan:
    whole = ("search.early_stopping.policy=none", *settings)
    return make_plan(load(settings=whole), space, [model(**speed)], place)


# ---- epochs -------------------------------------------------------------------------------------
def test_every_trial_is_trained_to_its_end_without_early_stopping() -> None:
    study = load(settings=["search.early_stopping.policy=none", "search.max_trials=7", "training.epochs=5"])
    assert expected_epochs(study, math.inf).total == 35
    assert expected_epochs(study, 3).total == 15, "the space has fewer combinations"


def test_early_stopping_trains_a_third_of_the_trials_beyond_each_rung() -> None:
    study = load(settings=["search.max_trials=81", "training.epochs=27"])
    # 81 trials for an epoch, 27 for two more, 9 for six more, 3 for the remaining 18
    assert expected_epochs(study, math.inf).total == pytest.approx(81 + 27 * 2 + 9 * 6 + 3 * 18)


def test_the_best_of_few_trials_is_trained_to_its_end_all_the_same() -> None:
    study = load(settings=["search.max_trials=2", "training.epochs=9"])
    assert expected_epochs(study, math.inf).total == pytest.approx(2 + 2 + 6)
    one = load(settings=["search.max_trials=1", "training.epochs=9"])
    assert expected_epochs(one, math.inf).total == 9


def test_promotion_trains_its_finalists_to_their_end() -> None:
    settings = ["search.early_stopping.policy=promotion", "search.finalists=6", "search.max_trials=9"]
    # 9 trials for an epoch, and 6 for two more, and for six more
    assert expected_epochs(load(settings=[*settings, "training.epochs=9"]), math.inf).total == pytest.approx(57)


@pytest.mark.parametrize("epochs", [1, 4, 10, 27, 100])
def test_hyperband_trains_the_epochs_of_keras_tuners_brackets(epochs: int) -> None:
    oracle = keras_tuner.oracles.HyperbandOracle("val_accuracy", max_epochs=epochs)
    trials = trained = 0
    for bracket in range(oracle._get_num_brackets()):
        before = 0
        for number in range(oracle._get_num_rounds(bracket)):
            size, length = oracle._get_size(bracket, number), oracle._get_epochs(bracket, number)
            trials, trained, before = trials + size, trained + size * (length - before), length
    expected = expected_epochs(load(settings=["search.algorithm=hyperband", f"training.epochs={epochs}"]), math.inf)
    assert (expected.trials, expected.total) == (trials, pytest.approx(trained))


# ---- hours --------------------------------------------------------------------------------------
def test_the_hours_are_those_of_all_trials_divided_by_the_workers() -> None:
    plan = planned("search.max_trials=12", "training.epochs=10", start_s=120)
    assert plan.worker_hours == pytest.approx(12 * (120 + 600) / HOUR)
    assert plan.finish_hours == pytest.approx(6 * 720 / HOUR)
    assert plan.limited_by == "search.max_trials"
    assert (plan.trials, plan.epochs) == (12, 120)


@pytest.mark.parametrize(
    ("settings", "hours", "limited_by"),
    [
        (("search.max_hours=1",), 2, "search.max_hours"),
        (("search.max_worker_hours=1",), 1, "search.max_worker_hours"),
        (("search.max_hours=1", "search.max_worker_hours=1.5"), 1.5, "search.max_worker_hours"),
        (("search.max_hours=1", "search.max_trials=3"), 0.5, "search.max_trials"),
    ],
)
def test_the_first_limit_ends_the_search(settings: tuple[str, ...], hours: float, limited_by: str) -> None:
    plan = planned("training.epochs=10", *settings)
    assert (plan.worker_hours, plan.limited_by) == (pytest.approx(hours), limited_by)
    assert plan.trials == pytest.approx(hours * 6)


def test_a_space_with_fewer_combinations_ends_the_search() -> None:
    plan = planned("search.max_trials=20", "training.epochs=10", space=SPACE)
    assert (plan.trials, plan.limited_by) == (9, "the space")


def test_a_trial_is_not_divided_among_workers() -> None:
    plan = planned("search.max_trials=1", "training.epochs=60")
    assert plan.finish_hours == plan.worker_hours == pytest.approx(1)


def test_repetitions_of_the_best_trials_take_whole_trials_more() -> None:
    confirm = ("search.confirm.best=2", "search.confirm.seeds=3", "training.epochs=10")
    plan = planned("search.max_trials=12", *confirm, start_s=120)
    assert plan.worker_hours == pytest.approx((12 + 6) * (120 + 600) / HOUR)
    assert (plan.trials, plan.epochs, plan.repetitions) == (12, 180, 6)
    assert planned("search.max_trials=1", *confirm).repetitions == 3, "a single trial is repeated"
    few = planned("search.max_trials=1", "training.epochs=1", "search.confirm.best=3", "search.confirm.seeds=1")
    assert few.bucket_bytes == pytest.approx(10**6 + (3 + 2 * 1 + 3 * 2) * 1000, abs=3000)


@pytest.mark.parametrize(("hours", "trials"), [(4, 24 - 6), (1, 3)])
def test_a_budget_of_hours_includes_repetitions_up_to_half_of_it(hours: float, trials: float) -> None:
    confirm = ("search.confirm.best=2", "search.confirm.seeds=3", "training.epochs=10")
    plan = planned(f"search.max_worker_hours={hours}", *confirm)
    assert plan.worker_hours == hours
    assert plan.trials == pytest.approx(trials)


def test_the_cost_is_that_of_the_worker_hours() -> None:
    assert planned("search.max_hours=1", "cost.per_worker_hour=0.5").cost == pytest.approx(1)
    assert planned("search.max_hours=1").cost is None


def test_the_bucket_has_the_data_and_the_models_of_the_best_and_running_trials() -> None:
    small = planned("search.max_trials=1", "training.epochs=1")
    assert small.bucket_bytes == pytest.approx(10**6 + (2 + 3 * 2) * 1000, abs=2000)


def test_the_bucket_also_has_the_models_of_trials_that_may_be_promoted() -> None:
    settings = ("search.max_trials=100", "training.epochs=1", "search.early_stopping.reduction_factor=3")
    without = planned(*settings).bucket_bytes
    assert planned(*settings, "search.early_stopping.policy=promotion").bucket_bytes - without == 100 * 1000


# ---- warnings -----------------------------------------------------------------------------------
def test_a_plan_that_fits_has_no_warnings() -> None:
    assert planned("search.max_trials=9", "training.epochs=2", "search.max_hours=9").warnings == []


@pytest.mark.parametrize(
    ("settings", "warning"),
    [
        (("search.algorithm=bayesian", "search.max_trials=3"), "the first 4 trials are random, so search.algorithm"),
        (("search.algorithm=tpe", "search.max_trials=9", "search.initial_points=9"), "the first 9 trials are random"),
        (("search.max_hours=0.1", "training.epochs=10"), "search.max_hours is 0.1 h, but a trial of 10 epochs"),
        (("search.max_worker_hours=0.1", "training.epochs=10"), "search.max_worker_hours is 0.1 h, but a trial"),
        (("training.max_minutes=0.5",), "training.max_minutes is 0.5, but a first epoch takes up to 1 minutes"),
        (("search.target=0.9",), "only search.target or search.patience_trials ends this search"),
        (("search.max_trials=1",), "2 workers will have only 1 trials"),
    ],
)
def test_settings_that_do_not_fit_are_a_warning(settings: tuple[str, ...], warning: str) -> None:
    (found,) = planned("training.epochs=2", *settings).warnings
    assert warning in found


def test_trials_of_earlier_studies_replace_random_ones() -> None:
    study = load(settings=["search.algorithm=tpe", "search.max_trials=4", "search.early_stopping.policy=none"])
    (warning,) = make_plan(study, ENDLESS, [model()], HERE).warnings
    assert "suggests none with its model" in warning
    assert make_plan(study, ENDLESS, [model()], HERE, learned=3).warnings == []


def test_a_constraint_limits_the_largest_model() -> None:
    space = within(ENDLESS, 5 * 10**8)
    assert space.size is not None
    assert space.size.largest == _size(5 * 10**8, 6 * 10**9)
    assert within(ENDLESS, 10**10) == ENDLESS
    small = Place(workers=1, data_bytes=0, memory_bytes=16 * 10**9, used_bytes=10**9)
    settings = ("search.early_stopping.policy=none", "search.constraints.parameters=5e8")
    assert make_plan(load(settings=settings), space, [model()], small).warnings == []


def test_a_model_that_is_larger_than_the_memory_is_a_warning() -> None:
    small = Place(workers=1, data_bytes=0, memory_bytes=16 * 10**9, used_bytes=10**9)
    (found,) = planned(place=small).warnings
    assert "needs about 17.0 GB of memory, and a worker has 16.0 GB" in found


# ---- spaces -------------------------------------------------------------------------------------
class Two(keras_tuner.HyperModel):
    """Refuses to be built, because only its hyperparameters matter here."""

    def build(self, hp: keras_tuner.HyperParameters) -> None:
        raise NotImplementedError


def space_of_all_kinds() -> keras_tuner.HyperParameters:
    hp = keras_tuner.HyperParameters()
    hp.Int("units", 32, 96, step=32)
    hp.Choice("activation", ["relu", "tanh"])
    hp.Boolean("flip")
    hp.Fixed("depth", 3)
    return hp


def test_the_combinations_of_a_space_are_counted() -> None:
    hp = space_of_all_kinds()
    summary = summarize(Two(), hp)
    assert summary.combinations == 3 * 2 * 2
    assert summary.hyperparameters == {
        "units": "32 to 96 in steps of 32", "activation": "relu, tanh", "flip": "False, True",
    }  # fmt: skip
    hp.Float("rate", 1e-4, 1e-1, sampling="log")
    assert summarize(Two(), hp).combinations == math.inf
    assert summarize(Two(), hp).hyperparameters["rate"] == "0.0001 to 0.1, on a logarithmic scale"


def test_sampled_models_differ_and_the_same_seed_samples_the_same() -> None:
    first = [hp.values for hp in sampled(space_of_all_kinds(), 6, 1)]
    assert len({repr(values) for values in first}) == 6
    assert first == [hp.values for hp in sampled(space_of_all_kinds(), 6, 1)]
    assert len(list(sampled(space_of_all_kinds(), 50, 1))) == 12, "there are no more"
