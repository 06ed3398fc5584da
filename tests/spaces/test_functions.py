"""What `space.import` can name: a class, a function, an object; and what it says about anything else."""

import textwrap
from pathlib import Path

import keras_tuner
import pytest

from tuner.config.space_settings import Space
from tuner.errors import SpaceError
from tuner.spaces import load_space
from tuner.spaces.exploration import explore
from tuner.spaces.function import definition_of

SHAPE = (24, 32, 3)
MODEL = """
import keras
import keras_tuner


def model_of(units, shape=(24, 32, 3)):
    model = keras.Sequential([keras.Input(shape), keras.layers.Flatten(), keras.layers.Dense(units, "softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model
"""


def loaded(folder: Path, code: str, name: str = "it") -> keras_tuner.HyperModel:
    """Load `name` of a module that has `model_of` and this code."""
    module = f"space_{folder.name}".replace("-", "_").replace("[", "_").replace("]", "_")
    (folder / f"{module}.py").write_text(MODEL + textwrap.dedent(code))
    return load_space(Space.model_validate({"import": f"{module}:{name}", "code": str(folder)}), SHAPE, 5)


def test_a_function_is_the_build_of_a_space(tmp_path: Path) -> None:
    space = loaded(tmp_path, "def it(hp): return model_of(hp.Choice('units', [4, 8]))")
    assert [hp.name for hp in explore(space, SHAPE).space] == ["units"]
    hp = keras_tuner.HyperParameters()
    hp.values["units"] = 8
    assert space.build(hp).output_shape == (None, 8)
    assert definition_of(space).__qualname__ == "it"


def test_a_functions_other_arguments_are_filled_by_their_names(tmp_path: Path) -> None:
    space = loaded(tmp_path, "def it(hp, input_shape, num_classes, depth=3): return model_of(num_classes, input_shape)")
    model = space.build(keras_tuner.HyperParameters())
    assert (model.input_shape, model.output_shape) == ((None, 24, 32, 3), (None, 5))


@pytest.mark.parametrize("shape", ["image_shape", "input_shape"])
@pytest.mark.parametrize("classes", ["classes", "num_classes", "n_classes"])
def test_keras_tuners_own_names_of_arguments_are_filled(tmp_path: Path, shape: str, classes: str) -> None:
    space = loaded(
        tmp_path,
        f"""
        class it(keras_tuner.HyperModel):
            def __init__(self, {shape}, {classes}):
                self.got = {shape}, {classes}
        """,
    )
    assert space.got == (SHAPE, 5)


def test_keras_tuners_own_spaces_can_be_named() -> None:
    space = load_space(Space.model_validate({"import": "keras_tuner.applications:HyperXception"}), SHAPE, 5)
    assert (space.input_shape, space.classes) == (SHAPE, 5)


@pytest.mark.parametrize("default", ["('cat', 'dog')", "'many'", "True", "2.0"])
def test_an_argument_whose_default_is_of_another_kind_keeps_it(tmp_path: Path, default: str) -> None:
    space = loaded(
        tmp_path,
        f"""
        class it(keras_tuner.HyperModel):
            def __init__(self, classes={default}, input_shape="largest", image_shape=(1.0, 2.0)):
                self.got = classes, input_shape, image_shape
        """,
    )
    assert repr(space.got) == f"({default}, 'largest', (1.0, 2.0))"


def test_defaults_that_mean_the_same_are_replaced(tmp_path: Path) -> None:
    space = loaded(
        tmp_path,
        """
        class it(keras_tuner.HyperModel):
            def __init__(self, num_classes=10, classes=None, input_shape=(224, 224, 3), image_shape=None):
                self.got = num_classes, classes, input_shape, image_shape
        """,
    )
    assert space.got == (5, 5, SHAPE, SHAPE)


def test_an_object_that_is_a_hypermodel_is_used_as_it_is(tmp_path: Path) -> None:
    space = loaded(tmp_path, "class Mine(keras_tuner.HyperModel):\n    depth = 2\nit = Mine(name='mine')")
    assert (space.name, space.depth) == ("mine", 2)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (
            "class it(keras_tuner.HyperModel):\n    def __init__(self, image_shape, depth, width): pass",
            "requires 'depth', 'width', cannot be filled. Arguments that can be filled are image_shape or input_shape "
            "(height, width, channels), and classes, num_classes or n_classes (number of classes). Give every other",
        ),
        (
            "def it(hp, depth): pass",
            "requires 'depth', which cannot be filled. Arguments that can be filled are image_",
        ),
        ("def it(): pass", "must accept the hyperparameters, as in def build_model(hp)."),
        ("class it: pass", "does not inherit from keras_tuner.HyperModel"),
        ("it = 3\ndef build_model(hp): pass", "has build_model. Name a class that inherits"),
        ("class Other(keras_tuner.HyperModel): pass", "has Other. Name a class that inherits"),
        ("", "has no class or function it. Name a class that inherits"),
    ],
)
def test_anything_else_is_refused_with_what_can_be_written(tmp_path: Path, code: str, message: str) -> None:
    with pytest.raises(SpaceError) as caught:
        loaded(tmp_path, code)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import cv2_missing", "because it needs cv2_missing, which is not installed. Install it where chief, workers"),
        ("import keras.nothing_like_it.at_all", "ModuleNotFoundError: No module named 'keras.nothing_like_it' [space_"),
        ("from keras import nothing_like_it", "ImportError: cannot import name 'nothing_like_it' from 'keras'"),
        ("raise OSError('no weights')", "cannot be imported (OSError: no weights [space_"),
    ],
)
def test_an_import_that_fails_names_the_package(tmp_path: Path, code: str, message: str) -> None:
    with pytest.raises(SpaceError) as caught:
        loaded(tmp_path, code)
    assert message in str(caught.value)


def test_a_package_whose_name_differs_is_named_as_it_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "skimage", None)  # as if it were not installed
    with pytest.raises(SpaceError, match="pip install scikit-image"):
        loaded(tmp_path, "import skimage")


def test_a_module_that_is_not_there_is_not_a_package_to_install(tmp_path: Path) -> None:
    with pytest.raises(SpaceError, match=r"module absent\.spaces was not found in .*Set space\.code to the folder"):
        load_space(Space.model_validate({"import": "absent.spaces:it", "code": str(tmp_path)}), SHAPE, 5)
