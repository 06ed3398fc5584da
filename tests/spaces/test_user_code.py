"""A user's own modules: with the names of this program's, in packages, and importing each other."""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import pytest

import k8s
import tuner
from tuner.config.space_settings import Space
from tuner.errors import SpaceError
from tuner.evaluator.provenance import _code
from tuner.spaces import load_space

SHAPE = (8, 8, 3)
CLASS = """
import keras_tuner

class Mine(keras_tuner.HyperModel):
    def build(self, hp):
        return value()
"""


@pytest.fixture(autouse=True)
def isolated() -> Iterator[None]:
    """What a test imports is not there for the next one."""
    path, finders, modules = list(sys.path), list(sys.meta_path), set(sys.modules)
    yield
    sys.path[:], sys.meta_path[:] = path, finders
    for name in set(sys.modules) - modules:
        if not name.startswith(("keras", "tensorflow", "tuner", "k8s")):
            del sys.modules[name]


def load(folder: Path, import_: str, **files: str) -> Any:
    """Write files (`a__b` is a/b.py) and return the space."""
    for name, text in files.items():
        file = folder / f"{name.replace('__', '/')}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return load_space(Space.model_validate({"import": import_, "code": str(folder)}), SHAPE, 2)


@pytest.mark.parametrize("name", ["tuner", "k8s", "cifake_tune", "random", "numpy"])
def test_a_module_may_have_a_name_that_is_taken(tmp_path: Path, name: str) -> None:
    before = sys.modules.get(name)
    space = load(tmp_path, f"{name}:Mine", **{name: f"{CLASS}\ndef value():\n    return __file__\n"})
    assert space.build(None) == str(tmp_path / f"{name}.py")
    assert sys.modules.get(name) is before


def test_its_name_and_file_are_in_the_provenance(tmp_path: Path) -> None:
    code = _code(load(tmp_path, "tuner:Mine", tuner=CLASS))
    assert code.space == "tuner:Mine"
    other = _code(load(tmp_path / "other", "my_name:Mine", my_name=CLASS))
    assert other.space == "my_name:Mine"
    assert other.space_sha256 == code.space_sha256  # of the same text


def test_modules_import_each_other_also_late_and_by_names_that_are_taken(tmp_path: Path) -> None:
    space = load(
        tmp_path,
        "tuner:Mine",
        tuner=f"import helpers_of_mine\nTWO = 2\n{CLASS}\ndef value():\n"
        "    import k8s\n    from k8s import THREE\n    return helpers_of_mine.two(), k8s.THREE, THREE\n",
        helpers_of_mine="import tuner as mine\ndef two():\n    from tuner import TWO\n    return TWO, mine.TWO\n",
        k8s="import helpers_of_mine\nfrom tuner import *\nTHREE = TWO + 1\n",
    )
    assert space.build(None) == ((2, 2), 3, 3)
    assert (sys.modules["tuner"], sys.modules["k8s"]) == (tuner, k8s)
    assert importlib.import_module("tuner.errors").SpaceError is SpaceError


@pytest.mark.parametrize("init", [True, False], ids=["package", "without init"])
def test_a_package_may_have_a_name_that_is_taken(tmp_path: Path, init: bool) -> None:
    files = {"tuner____init__": ""} if init else {}
    space = load(
        tmp_path,
        "tuner.spaces.conv:Mine",
        tuner__spaces__conv=f"from . import near\nfrom ..errors import far\nimport tuner.errors\n{CLASS}\n"
        "def value():\n    from tuner.spaces.near import here\n    import tuner.spaces.near as near_too\n"
        "    from tuner import errors\n"
        "    return near.here, far, here, near_too.here, tuner.errors.far, errors.far\n",
        tuner__spaces__near="here = 'near'\n",
        tuner__errors="far = 'far'\n",
        **files,
    )
    assert space.build(None) == ("near", "far", "near", "near", "far", "far")
    assert importlib.import_module("tuner.spaces").load_space is load_space


def test_a_helper_of_another_module_may_have_a_name_that_is_taken(tmp_path: Path) -> None:
    space = load(
        tmp_path,
        "my_own_space:Mine",
        my_own_space=f"from tuner import value\n{CLASS}",
        tuner="def value():\n    return 4\n",
    )
    assert space.build(None) == 4


def test_a_folder_of_results_does_not_hide_the_program(tmp_path: Path) -> None:
    (tmp_path / "tuner" / "trial_0").mkdir(parents=True)
    space = load(
        tmp_path,
        "uses_program:Mine",
        uses_program=f"from tuner.errors import ExitCode\n{CLASS}\nvalue = lambda: ExitCode.DONE\n",
    )
    assert space.build(None) == 0


def test_only_the_users_files_import_the_users_modules(tmp_path: Path) -> None:
    """Not those of a virtual environment in the user's folder."""
    installed = tmp_path / ".venv" / "site-packages"
    installed.mkdir(parents=True)
    (installed / "installed_there.py").write_text("import tuner\nversion = tuner.__version__\n")
    sys.path.append(str(installed))
    text = f"import installed_there\n{CLASS}\nvalue = lambda: installed_there.version\n"
    assert load(tmp_path, "tuner:Mine", tuner=text).build(None) == tuner.__version__


def test_an_import_that_fails_names_the_users_module(tmp_path: Path) -> None:
    with pytest.raises(SpaceError, match=r"tuner cannot be imported because it needs no_such_module, which is not"):
        load(tmp_path, "tuner:Mine", tuner="import no_such_module\n")


def test_saved_models_find_classes_of_such_a_module(tmp_path: Path) -> None:
    text = (
        f"import keras, keras_tuner\n@keras.saving.register_keras_serializable()\nclass Twice(keras.layers.Layer):\n"
        f"    def call(self, x):\n        return 2 * x\n{CLASS}\n"
        f"def value():\n    return keras.Sequential([keras.Input((1,)), Twice()])\n"
    )
    model = load(tmp_path, "tuner:Mine", tuner=text).build(None)
    model.save(tmp_path / "m.keras")
    loaded = keras.saving.load_model(tmp_path / "m.keras", safe_mode=True)
    assert type(loaded.layers[-1]) is type(model.layers[-1])
