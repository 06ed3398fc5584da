"""The search spaces: the published one is exact, a user's own is found, conditions are explored."""

import json
from pathlib import Path
from typing import Any

import keras
import keras_tuner
import pytest

from tests.integration.spaces.user_spaces import Huge
from tuner import config
from tuner.config import Space
from tuner.errors import PreemptedError, SpaceError
from tuner.spaces import load_space, narrow, seed
from tuner.spaces.exploration import explore
from tuner.spaces.seed import SeedSpace
from tuner.suggest import Suggestion, make_suggester

SHAPE = (32, 32, 3)


def test_the_seed_space_is_the_published_one() -> None:
    space = {hp.name: hp.get_config() for hp in explore(SeedSpace(SHAPE, 2)).space}
    ranges = {
        name: (config["min_value"], config["max_value"], config["step"])
        for name, config in space.items()
        if "min_value" in config
    }
    assert ranges == {
        "filters": (20, 100, 20),
        "kernel_size": (2, 4, 1),
        "units_1": (100, 1000, 100),
        "units_2": (100, 1000, 100),
    }
    choices = {name: list(config["values"]) for name, config in space.items() if "values" in config}
    assert choices == {
        "activation_1": ["relu", "tanh"],
        "activation_2": ["relu", "tanh"],
        "learning_rate": [1e-3, 5e-4, 1e-4],
        "optimizer": ["adam", "sgd"],
    }


def test_the_seed_model_has_the_published_layers_and_takes_pixels() -> None:
    hp = keras_tuner.HyperParameters()
    hp.values.update(filters=40, kernel_size=4, units_1=100, units_2=200, activation_2="tanh", optimizer="sgd")
    model = SeedSpace(SHAPE, 2).build(hp)
    names = [type(layer).__name__ for layer in model.layers]
    assert names == ["Rescaling", "Conv2D", "MaxPooling2D", "Flatten", "Dense", "Dense", "Dense"]
    _, conv, _, _, first, second, output = model.layers
    assert (conv.filters, conv.kernel_size) == (40, (4, 4))
    assert (first.units, second.units, second.activation.__name__) == (100, 200, "tanh")
    assert (output.units, output.activation.__name__) == (1, "sigmoid")
    assert isinstance(model.optimizer, keras.optimizers.SGD)
    assert float(model.optimizer.learning_rate) == pytest.approx(1e-3)


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_the_seed_model_computes_in_the_fastest_precision_and_answers_in_float32(
    policy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seed, "fastest_precision", lambda: policy)
    for classes in (2, 3):
        scaling, *inner, output = SeedSpace(SHAPE, classes).build(keras_tuner.HyperParameters()).layers
        assert {layer.dtype_policy.name for layer in inner} == {policy}
        assert scaling.compute_dtype == output.compute_dtype == "float32"  # pixels are 8 bits, and bfloat16 has 8


def test_three_classes_get_a_softmax() -> None:
    model = SeedSpace((64, 64, 3), 3).build(keras_tuner.HyperParameters())
    assert model.output_shape == (None, 3)
    assert model.layers[-1].activation.__name__ == "softmax"


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
            return keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])

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
        for number, each in enumerate(noisy):
            if each:
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
    found = [hp.name for hp in explore(space()).space]
    assert set(found) == LOOPED | more
    assert len(found) == len(set(found))
    assert not caplog.records


def test_a_chief_that_is_started_anew_finds_them_in_the_same_order() -> None:
    class Branching(keras_tuner.HyperModel):
        def build(self, hp: keras_tuner.HyperParameters) -> keras.Model:
            if hp.Choice("kind", ["plain", "deep"]) == "deep":
                with hp.conditional_scope("kind", ["deep"]):
                    for number in range(hp.Int("depth", 1, 9)):
                        hp.Float(f"rate_{number}", 0, 1)
            for number in range(hp.Int("width", 1, 3)):
                hp.Boolean(f"norm_{number}")
            return keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])

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
            return keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])

    assert {"of_four_0", "of_four_1"} <= {hp.name for hp in explore(Conditional()).space}


def test_only_values_that_a_trial_can_have_are_built_with() -> None:
    class Stepped(keras_tuner.HyperModel):
        def build(self, hp: keras_tuner.HyperParameters) -> keras.Model:
            for number in range(hp.Int("layers", 6, 13, step=3)):
                hp.Boolean(f"layer_{number}")
            for number in range(hp.Int("blocks", 1, 8, step=2, sampling="reverse_log")):
                hp.Boolean(f"block_{number}")
            return keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])

    assert len(explore(Stepped()).space) == 1 + 12 + 1 + 8


def test_all_of_them_are_searched_from_the_first_trial_on() -> None:
    study = config.load(settings=["space.import=a:B", "search.max_trials=2"])
    suggestion = make_suggester(study, explore(Looped()), "max").suggest()
    assert isinstance(suggestion, Suggestion)
    assert suggestion.values.keys() >= LOOPED


def test_the_largest_model_of_a_space_need_not_fit_into_memory(caplog: pytest.LogCaptureFixture) -> None:
    assert {hp.name for hp in explore(Huge()).space} == {"units", "learning_rate", "afterwards", "last"}
    assert not caplog.records


def test_values_that_do_not_build_alone_are_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    class Deep(keras_tuner.HyperModel):
        def build(self, hp: keras_tuner.HyperParameters) -> keras.Model:
            hp.Boolean("other")
            if hp.Int("layers", 1, 3) == 3:
                raise ValueError("too deep")
            return keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])

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
            return keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])

    assert len(explore(Endless()).space) > 100
    assert "200 builds have not found all hyperparameters" in caplog.text


def test_a_loop_that_asks_before_each_turn_is_followed_to_its_end() -> None:
    class Asking(keras_tuner.HyperModel):
        def build(self, hp: keras_tuner.HyperParameters) -> keras.Model:
            number = 0
            while number < 30 and hp.Boolean(f"more_{number}"):
                number += 1
            return keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])

    assert len(explore(Asking()).space) == 30


class Layered(keras_tuner.HyperModel):
    """One hyperparameter of each kind, the last under a condition."""

    def build(self, hp: keras_tuner.HyperParameters) -> keras.Model:
        hp.Int("width", 8, 64)
        hp.Float("rate", 1e-4, 1e-1, sampling="log")
        hp.Choice("kind", ["plain", "deep"])
        with hp.conditional_scope("kind", ["deep"]):
            hp.Int("depth", 2, 9)
        return keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])


def suggested(values: dict[str, Any], trials: int = 12) -> list[dict[str, Any]]:
    settings = [f"space.values={json.dumps(values)}", f"search.max_trials={trials}"]
    study = config.load(settings=["space.import=a:B", *settings])
    suggester = make_suggester(study, narrow(explore(Layered()), study.space.values), "max")
    suggestions = [suggester.suggest() for _ in range(trials)]
    return [suggestion.values for suggestion in suggestions if isinstance(suggestion, Suggestion)]


def test_a_study_sets_hyperparameters_itself_or_lets_them_be_one_of_few() -> None:
    trials = suggested({"width": 48, "rate": [0.001, 1], "depth": [3, 5]})
    assert {trial["width"] for trial in trials} == {48}
    assert {trial["rate"] for trial in trials} == {0.001, 1.0}
    assert {trial["depth"] for trial in trials if trial["kind"] == "deep"} == {3, 5}
    assert not any("depth" in trial for trial in trials if trial["kind"] == "plain")


def test_a_worker_builds_with_what_the_study_set() -> None:
    narrowed = narrow(explore(Layered()), {"width": 48, "kind": "deep", "depth": 7})
    given = keras_tuner.HyperParameters.from_proto(narrowed.to_proto())
    Layered().build(given)
    assert (given["width"], given["kind"], given["depth"]) == (48, "deep", 7)


def test_a_value_for_what_the_space_does_not_have_is_an_error_that_names_what_it_has() -> None:
    with pytest.raises(SpaceError, match=r"no hyperparameter 'widht'; it has width, rate, kind, depth\."):
        narrow(explore(Layered()), {"widht": 48})


def write_module(folder: Path, name: str, text: str) -> Space:
    (folder / f"{name}.py").write_text(text)
    return Space.model_validate({"import": f"{name}:Mine", "code": str(folder)})


def test_a_users_class_is_called_with_what_its_init_has(tmp_path: Path) -> None:
    space = write_module(
        tmp_path,
        "space_with_arguments",
        "import keras_tuner\n"
        "class Mine(keras_tuner.HyperModel):\n"
        "    def __init__(self, classes):\n"
        "        super().__init__()\n"
        "        self.classes = classes\n",
    )
    assert load_space(space, SHAPE, 7).classes == 7
    plain = write_module(
        tmp_path, "space_without", "import keras_tuner\nclass Mine(keras_tuner.HyperModel):\n    pass\n"
    )
    assert type(load_space(plain, SHAPE, 7)).__name__ == "Mine"


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("space_broken", "import nonsense_module\n", "cannot be imported.*nonsense_module"),
        ("space_empty", "", "has no class Mine"),
        ("space_other", "class Mine:\n    pass\n", "keras_tuner.HyperModel"),
        (
            "space_raising",
            "import keras_tuner\nclass Mine(keras_tuner.HyperModel):\n    def __init__(self):\n        1 / 0\n",
            "cannot be made.*ZeroDivisionError",
        ),
    ],
)
def test_a_space_that_cannot_be_loaded_is_explained(tmp_path: Path, name: str, text: str, says: str) -> None:
    with pytest.raises(SpaceError, match=f"(?s){says}"):
        load_space(write_module(tmp_path, name, text), SHAPE, 2)


def test_unknown_built_ins_and_folders_are_explained(tmp_path: Path) -> None:
    with pytest.raises(SpaceError, match="'sead'; there is seed, deep"):
        load_space(Space(name="sead"), SHAPE, 2)
    with pytest.raises(SpaceError, match="is not a folder"):
        load_space(Space.model_validate({"import": "a:B", "code": str(tmp_path / "none")}), SHAPE, 2)


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


@pytest.mark.parametrize("where", ["import", "init", "build", "fit"])
def test_a_signal_in_the_midst_of_a_users_code_is_no_error_of_that_code(tmp_path: Path, where: str) -> None:
    """Exit code 2 would end the workers' whole Job, where one of them was preempted."""
    (tmp_path / f"stopped_in_{where}.py").write_text(f"""
import keras, keras_tuner
from tuner.errors import PreemptedError

def at(where):
    if where == {where!r}:
        raise PreemptedError("asked to stop.")  # as the signal's handler does

at("import")

class Stopped(keras_tuner.HyperModel):
    def __init__(self):
        super().__init__()
        at("init")

    def build(self, hp):
        at("build")

    def fit(self, hp, model, *args, **kwargs):
        at("fit")
""")
    space = Space.model_validate({"import": f"stopped_in_{where}:Stopped", "code": str(tmp_path)})
    with pytest.raises(PreemptedError):
        explore(load_space(space, (32, 32, 3), 2))
