"""The search spaces: the published one is exact, a user's own is found, a study sets what it wants of one."""

import json
from pathlib import Path
from typing import Any

import keras
import keras_tuner
import pytest

from tuner.config.loading import load
from tuner.config.space_settings import Space
from tuner.errors import ExitCode, PreemptedError, SpaceError
from tuner.search.suggester import Suggestion, make_suggester
from tuner.spaces import load_space, narrow, seed
from tuner.spaces.exploration import explore
from tuner.spaces.seed import SeedSpace
from tuner.study.objective import Objective

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


class Layered(keras_tuner.HyperModel):
    """One hyperparameter of each kind, the last under a condition."""

    def build(self, hp: keras_tuner.HyperParameters) -> keras.Model:
        hp.Int("width", 8, 64)
        hp.Float("rate", 1e-4, 1.0, sampling="log")
        hp.Choice("kind", ["plain", "deep"])
        with hp.conditional_scope("kind", ["deep"]):
            hp.Int("depth", 2, 9)
        return keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])


def suggested(values: dict[str, Any], trials: int = 12) -> list[dict[str, Any]]:
    settings = [f"space.values={json.dumps(values)}", f"search.max_trials={trials}"]
    study = load(settings=["space.import=a:B", *settings])
    suggester = make_suggester(study, narrow(explore(Layered()), study.space.values), Objective("val_accuracy"))
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
    hp = keras_tuner.HyperParameters.from_proto(narrowed.to_proto())
    Layered().build(hp)
    assert (hp["width"], hp["kind"], hp["depth"]) == (48, "deep", 7)


def test_a_value_for_what_the_space_does_not_have_is_an_error_that_names_what_it_has() -> None:
    with pytest.raises(SpaceError, match=r"no hyperparameter 'widht'\. Use width, rate, kind, depth\."):
        narrow(explore(Layered()), {"widht": 48})


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"width": "48"}, 'space.values.width: must be a whole number from 8 to 64, got "48".'),
        ({"width": 48.0}, "space.values.width: must be a whole number from 8 to 64, got 48.0."),
        ({"width": True}, "space.values.width: must be a whole number from 8 to 64, got true."),
        ({"width": 65}, "space.values.width: must be a whole number from 8 to 64, got 65."),
        ({"width": [8, 7]}, "space.values.width: must be a whole number from 8 to 64, got 7."),
        ({"rate": "fast"}, 'space.values.rate: must be a number from 0.0001 to 1.0, got "fast".'),
        ({"rate": 10.0**30}, "space.values.rate: must be a number from 0.0001 to 1.0, got 1e+30."),
        ({"kind": ["plain", "deeper"]}, 'space.values.kind: must be one of ["plain", "deep"], got "deeper".'),
        ({"kind": 1}, 'space.values.kind: must be one of ["plain", "deep"], got 1.'),
        ({"norm": "yes"}, 'space.values.norm: must be true or false, got "yes".'),
        ({"size": 4.0}, "space.values.size: must be one of [2, 4], got 4.0."),
        ({"size": True}, "space.values.size: must be one of [2, 4], got true."),
    ],
)
def test_a_value_of_the_wrong_type_or_range_is_refused(values: dict[str, Any], sentence: str) -> None:
    space = keras_tuner.HyperParameters()
    space.Boolean("norm")
    space.Choice("size", [2, 4])
    space.merge(explore(Layered()))
    with pytest.raises(SpaceError) as caught:
        narrow(space, values)
    assert str(caught.value) == sentence
    assert caught.value.exit_code is ExitCode.USAGE


def test_a_value_must_be_valid_under_one_of_the_conditions() -> None:
    space = keras_tuner.HyperParameters()
    kind = space.Choice("kind", ["small", "large"])
    assert kind == "small"
    with space.conditional_scope("kind", ["small"]):
        space.Int("width", 1, 9)
    with space.conditional_scope("kind", ["large"]):
        space.Int("width", 100, 900)
    narrow(space, {"width": 500})
    with pytest.raises(SpaceError, match="from 1 to 9 or a whole number from 100 to 900, got 50"):
        narrow(space, {"width": 50})


def test_true_is_a_value_of_a_choice_of_true_and_false() -> None:
    space = keras_tuner.HyperParameters()
    space.Choice("flag", [True, False])
    narrow(space, {"flag": True})


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
        ("space_empty", "", "has no class or function Mine"),
        ("space_other", "class Mine:\n    pass\n", "keras_tuner.HyperModel"),
        (
            "space_raising",
            "import keras_tuner\nclass Mine(keras_tuner.HyperModel):\n    def __init__(self):\n        1 / 0\n",
            "cannot be instantiated.*ZeroDivisionError",
        ),
    ],
)
def test_a_space_that_cannot_be_loaded_is_explained(tmp_path: Path, name: str, text: str, says: str) -> None:
    with pytest.raises(SpaceError, match=f"(?s){says}"):
        load_space(write_module(tmp_path, name, text), SHAPE, 2)


def test_unknown_built_ins_and_folders_are_explained(tmp_path: Path) -> None:
    with pytest.raises(SpaceError, match=r"space\.name must be one of seed, deep, got 'sead'"):
        load_space(Space(name="sead"), SHAPE, 2)
    with pytest.raises(SpaceError, match="is not a folder"):
        load_space(Space.model_validate({"import": "a:B", "code": str(tmp_path / "none")}), SHAPE, 2)


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
