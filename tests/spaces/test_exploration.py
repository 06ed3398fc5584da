"""Which hyperparameters a space has: under conditions, in loops and branches, and in a `fit` of the user's own."""

from typing import Any

import keras
import keras_tuner
import pytest

from tests.integration.spaces.user_spaces import Huge
from tuner.config.loading import load
from tuner.errors import SpaceError
from tuner.names import TrialId
from tuner.search.suggester import Suggestion, make_suggester
from tuner.spaces.exploration import explore
from tuner.spaces.seed import SeedSpace
from tuner.study.objective import Objective
from tuner.study.records import Created, Opened
from tuner.study.state import StudyState


def some_model() -> keras.Model:
    """Return a model, of which nothing is built yet: what is asked is which hyperparameters lead to it."""
    return keras.Sequential([keras.layers.Dense(1)])


def test_conditional_hyperparameters_are_all_found() -> None:
    class Nested(keras_tuner.HyperModel):
        def build(self, hp: keras_tuner.HyperParameters) -> keras.Model:
            kind = hp.Choice("kind", ["plain", "deep", "wide"])
            if kind == "deep":
                with hp.conditional_scope("kind", ["deep"]):
                    depth = hp.Int("depth", 1, 2)
                    with hp.conditional_scope("depth", [2]):
                        hp.Float("dropout", 0, 0.5)
                    assert depth
            with hp.conditional_scope("kind", ["wide"]):
                hp.Int("width", 8, 16)
            return some_model()

    assert {hp.name for hp in explore(Nested()).space} == {"kind", "depth", "dropout", "width"}


class Looped(keras_tuner.HyperModel):
    """As Keras Tuner's guide writes spaces: a layer's hyperparameters are there where the layer is."""

    def build(self, hp: keras_tuner.HyperParameters) -> keras.Model:
        model = keras.Sequential([keras.Input((4,))])
        for number in range(hp.Int("layers", 1, 3)):
            model.add(keras.layers.Dense(hp.Int(f"units_{number}", 2, 8)))
        if hp.Choice("head", ["plain", "wide", "deep"]) == "deep":
            for number in range(hp.Int("head_layers", 1, 2)):
                if hp.Boolean(f"dropout_{number}"):
                    model.add(keras.layers.Dropout(hp.Float(f"rate_{number}", 0.1, 0.5)))
        model.add(keras.layers.Dense(1))
        model.compile("sgd", "mse")
        return model

    def fit(self, hp: keras_tuner.HyperParameters, model: keras.Model, *args: Any, **kwargs: Any) -> Any:
        for number in range(hp.Int("phases", 1, 2)):
            hp.Float(f"momentum_{number}", 0, 0.9)
        return model.fit(*args, **kwargs)


LOOPED = {
    *("layers", "units_0", "units_1", "units_2", "head", "head_layers"),
    *("dropout_0", "dropout_1", "rate_0", "rate_1", "phases", "momentum_0", "momentum_1"),
}


class LoopedWhereItCanBeCalled(Looped):
    """Calls its model while it builds it, which needs weights."""

    def build(self, hp: keras_tuner.HyperParameters) -> keras.Model:
        float(keras.ops.sum(keras.layers.Dense(1)(keras.ops.ones((1, 1)))))
        return super().build(hp)


class LoopedWhereABranchCanBeCalled(Looped):
    """Does so in one branch only."""

    def build(self, hp: keras_tuner.HyperParameters) -> keras.Model:
        if hp.Boolean("called"):
            return LoopedWhereItCanBeCalled().build(hp)
        return super().build(hp)


class LoopedAndPickyAboutValues(Looped):
    """Cannot be built with the largest numbers of all that it asks for, and says so in the midst of it."""

    def build(self, hp: keras_tuner.HyperParameters) -> keras.Model:
        layers, stride = hp.Int("layers", 1, 3), hp.Int("stride", 1, 9)
        noisy = [hp.Boolean(f"noise_{number}") for number in range(layers)]
        if layers == 3 and stride > 5:
            raise ValueError("nothing is left of the image")
        for number, is_noisy in enumerate(noisy):
            if is_noisy:
                hp.Float(f"deviation_{number}", 0.1, 0.5)
        return super().build(hp)


PICKY = {"stride", *(f"{name}_{number}" for name in ("noise", "deviation") for number in range(3))}


@pytest.mark.parametrize(
    ("space", "more"),
    [
        (Looped, set()),
        (LoopedWhereItCanBeCalled, set()),
        (LoopedWhereABranchCanBeCalled, {"called"}),
        (LoopedAndPickyAboutValues, PICKY),
    ],
)
def test_hyperparameters_that_only_some_builds_have_are_all_found(
    space: type[Looped], more: set[str], caplog: pytest.LogCaptureFixture
) -> None:
    hp_names = [hp.name for hp in explore(space()).space]
    assert set(hp_names) == LOOPED | more
    assert len(hp_names) == len(set(hp_names))
    assert not caplog.records


def test_the_space_seed_is_built_once_because_each_build_names_all_hyperparameters() -> None:
    class OfAUser(SeedSpace):
        """A subclass is explored completely, as it may have more."""

        built = 0

        def build(self, hp: keras_tuner.HyperParameters) -> keras.Model:
            type(self).built += 1
            return super().build(hp)

    complete, built_once = explore(OfAUser((8, 8, 3))), explore(SeedSpace((8, 8, 3)))
    assert OfAUser.built == 4
    assert [hp.get_config() for hp in built_once.space] == [hp.get_config() for hp in complete.space]


def test_a_built_in_space_that_cannot_be_built_for_the_images_is_refused() -> None:
    with pytest.raises(SpaceError, match=r"the space's build\(\) fails with .*kernel_size.* Fix build\(\)\."):
        explore(SeedSpace((1, 1, 3)), (1, 1, 3))


def test_a_chief_that_is_started_anew_finds_them_in_the_same_order() -> None:
    class Branching(keras_tuner.HyperModel):
        def build(self, hp: keras_tuner.HyperParameters) -> keras.Model:
            if hp.Choice("kind", ["plain", "deep"]) == "deep":
                with hp.conditional_scope("kind", ["deep"]):
                    for number in range(hp.Int("depth", 1, 9)):
                        hp.Float(f"rate_{number}", 0, 1)
            for number in range(hp.Int("width", 1, 3)):
                hp.Boolean(f"norm_{number}")
            return some_model()

    orders = [[hp.name for hp in explore(Branching()).space] for _ in range(5)]
    assert len(orders[0]) == 3 + 9 + 3
    assert orders == [orders[0]] * 5


def test_a_condition_within_a_loop_is_met_too() -> None:
    class Conditional(keras_tuner.HyperModel):
        def build(self, hp: keras_tuner.HyperParameters) -> keras.Model:
            for number in range(hp.Int("blocks", 1, 2)):
                hp.Int(f"depth_{number}", 1, 9)
                with hp.conditional_scope(f"depth_{number}", [4]):
                    if hp.get(f"depth_{number}") == 4:
                        hp.Boolean(f"of_four_{number}")
            return some_model()

    assert {"of_four_0", "of_four_1"} <= {hp.name for hp in explore(Conditional()).space}


def test_only_values_that_a_trial_can_have_are_built_with() -> None:
    class Stepped(keras_tuner.HyperModel):
        def build(self, hp: keras_tuner.HyperParameters) -> keras.Model:
            for number in range(hp.Int("layers", 6, 13, step=3)):
                hp.Boolean(f"layer_{number}")
            for number in range(hp.Int("blocks", 1, 8, step=2, sampling="reverse_log")):
                hp.Boolean(f"block_{number}")
            return some_model()

    assert len(explore(Stepped()).space) == 1 + 12 + 1 + 8


def test_all_of_them_are_searched_from_the_first_trial_on() -> None:
    study = load(settings=["space.import=a:B", "search.max_trials=2"])
    suggestion = make_suggester(study, explore(Looped()), Objective("val_accuracy")).suggest()
    assert isinstance(suggestion, Suggestion)
    assert suggestion.values.keys() >= LOOPED


def test_trials_from_before_a_hyperparameter_was_known_had_its_default() -> None:
    study = load(settings=["space.import=a:B", "search.max_trials=4"])
    state = StudyState()
    state.apply(Opened(at=0, term=1, writer="w", study=study, data="d", direction="max"))
    values = {"layers": 3, "units_0": 5, "head": "plain", "phases": 1, "momentum_0": 0.5}
    state.apply(Created(at=0, trial=TrialId("00000"), hyperparameters=values, algorithm={"seed_state": 1}))
    suggester = make_suggester(study, explore(Looped()), Objective("val_accuracy"))
    suggester.restore(state)
    [trial] = suggester._oracle.trials.values()
    assert trial.hyperparameters.values.items() >= {**values, "units_1": 2, "units_2": 2, "dropout_0": False}.items()
    assert state.trials[TrialId("00000")].hyperparameters == values


def test_the_largest_model_of_a_space_need_not_fit_into_memory(caplog: pytest.LogCaptureFixture) -> None:
    assert {hp.name for hp in explore(Huge()).space} == {"units", "learning_rate", "afterwards", "last"}
    assert not caplog.records


def test_values_that_do_not_build_alone_are_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    class Deep(keras_tuner.HyperModel):
        def build(self, hp: keras_tuner.HyperParameters) -> keras.Model:
            hp.Boolean("other")
            if hp.Int("layers", 1, 3) == 3:
                raise ValueError("too deep")
            return some_model()

    assert {hp.name for hp in explore(Deep()).space} == {"layers", "other"}
    [warning] = caplog.records
    assert "fails with some values" in warning.message
    assert "'layers': 3" in warning.message
    assert "ValueError: too deep" in warning.message


def test_a_space_with_no_end_is_searched_as_far_as_it_was_explored(caplog: pytest.LogCaptureFixture) -> None:
    class Endless(keras_tuner.HyperModel):
        built = 0

        def build(self, hp: keras_tuner.HyperParameters) -> keras.Model:
            self.built += 1
            hp.Boolean(f"of_build_{self.built}")
            return some_model()

    assert len(explore(Endless()).space) > 100
    assert "200 builds were not enough to find all hyperparameters" in caplog.text


def test_a_loop_that_asks_before_each_turn_is_followed_to_its_end() -> None:
    class Asking(keras_tuner.HyperModel):
        def build(self, hp: keras_tuner.HyperParameters) -> keras.Model:
            number = 0
            while number < 30 and hp.Boolean(f"more_{number}"):
                number += 1
            return some_model()

    assert len(explore(Asking()).space) == 30


def test_hyperparameters_of_a_fit_of_the_users_own_are_found_though_nothing_is_trained() -> None:
    class Fitting(keras_tuner.HyperModel):
        def build(self, hp: keras_tuner.HyperParameters) -> keras.Model:
            return keras.Sequential([keras.layers.Dense(hp.Int("units", 1, 2))])

        def fit(self, hp: keras_tuner.HyperParameters, model: keras.Model, *args: Any, **kwargs: Any) -> Any:
            hp.Boolean("augment")
            with hp.conditional_scope("augment", [True]):
                hp.Float("shift", 0.0, 0.5)
            try:
                return model.fit(*args, batch_size=hp.Choice("batch_size", [16, 32]), **kwargs)
            except Exception:
                pytest.fail("the stand-in for the model was used")

    assert {"units", "augment", "shift", "batch_size"} == {hp.name for hp in explore(Fitting()).space}


def test_a_build_that_fails_is_explained() -> None:
    class Failing(keras_tuner.HyperModel):
        def build(self, hp: keras_tuner.HyperParameters) -> keras.Model:
            raise ValueError(f"units {hp.Int('units', 1, 2)} are too few")

    with pytest.raises(SpaceError, match=r"build\(\) fails with .*units.*ValueError: units 1 are too few"):
        explore(Failing())


def test_declared_hyperparameters_are_searched_though_no_build_names_them() -> None:
    class Declaring(keras_tuner.HyperModel):
        def declare_hyperparameters(self, hp: keras_tuner.HyperParameters) -> None:
            hp.Int("units", 2, 8, default=4)
            hp.Boolean("rare")

        def build(self, hp: keras_tuner.HyperParameters) -> keras.Model:
            assert hp.Int("units", 1, 100) >= 2  # the declaration counts, as in Keras Tuner
            return some_model()

    found = {hp.name: hp for hp in explore(Declaring()).space}
    assert set(found) == {"units", "rare"}
    assert (found["units"].min_value, found["units"].max_value) == (2, 8)


def test_of_a_space_that_is_not_tunable_only_what_it_declares_is_searched() -> None:
    class Fixed(keras_tuner.HyperModel):
        def __init__(self) -> None:
            super().__init__(tunable=False)

        def declare_hyperparameters(self, hp: keras_tuner.HyperParameters) -> None:
            hp.Int("units", 2, 8)

        def build(self, hp: keras_tuner.HyperParameters) -> keras.Model:
            hp.Int("units", 2, 8)
            hp.Boolean("of_no_interest")
            return some_model()

    assert [hp.name for hp in explore(Fixed()).space] == ["units"]


def test_a_declaration_that_fails_is_explained() -> None:
    class Failing(keras_tuner.HyperModel):
        def declare_hyperparameters(self, hp: keras_tuner.HyperParameters) -> None:
            raise KeyError("units")

    with pytest.raises(SpaceError, match=r"declare_hyperparameters\(\) fails \(KeyError: 'units' \[test_exploration"):
        explore(Failing())


@pytest.mark.parametrize("error", [ValueError, keras_tuner.errors.FailedTrialError, keras_tuner.errors.FatalError])
def test_a_build_that_fails_with_other_values_than_the_defaults_is_a_warning(
    error: type[Exception], caplog: pytest.LogCaptureFixture
) -> None:
    class Partly(keras_tuner.HyperModel):
        def build(self, hp: keras_tuner.HyperParameters) -> keras.Model:
            kind = hp.Choice("kind", ["plain", "deep", "wide"])
            if kind == "deep":
                raise error("too deep")
            with hp.conditional_scope("kind", ["deep"]):
                hp.Int("depth", 1, 2)
            with hp.conditional_scope("kind", ["wide"]):
                if kind == "wide":
                    hp.Int("width", 8, 16)
            return some_model()

    assert {hp.name for hp in explore(Partly()).space} == {"kind", "depth", "width"}
    assert "'kind': 'deep'" in caplog.text
    assert f"{error.__name__}: too deep" in caplog.text
