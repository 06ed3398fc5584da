"""What is said about a `space.import` that is not written as `module:name`."""

from pathlib import Path

import pytest

from tests.support.command_line import run_in_process
from tuner.config.loading import load
from tuner.config.space_settings import Space
from tuner.errors import ConfigError, SpaceError
from tuner.spaces import load_space

FORM = "space.import: must be module:name, such as my_models:build_model, got"


def refused(text: str, *settings: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(None, [f"space.import={text}", *settings])
    assert FORM in str(caught.value)
    return str(caught.value)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_fn.py").write_text(
        "import nothing_that_exists\ndef helper(x): ...\ndef build_model(hp): ...\nclass Mine(kt.HyperModel): ...\n"
    )
    (tmp_path / "plain.py").write_text("def train(x): ...\n")
    (tmp_path / "broken.py").write_text("def train(\n")
    (tmp_path / "models").mkdir()
    (tmp_path / "models/small.py").write_text("def build(hp): ...\n")
    return tmp_path


@pytest.mark.parametrize("text", ["my_fn", "my_fn.py", "./my_fn.py"])
def test_the_spaces_of_a_module_are_named(folder: Path, text: str) -> None:
    assert refused(text).endswith("Did you mean my_fn:build_model or my_fn:Mine?")


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("my_fn.build_model", "my_fn:build_model"),
        ("my_fn::helper", "my_fn:helper"),
        ("my_fn.py::helper", "my_fn:helper"),
        ("models/small.py:build", "models.small:build"),
        ("models/small", "models.small:build"),
        ("build_model", "my_fn:build_model"),
    ],
)
def test_the_form_that_is_probably_meant_is_named(folder: Path, text: str, meant: str) -> None:
    assert refused(text).endswith(f"Did you mean {meant}?")


def test_a_module_without_an_obvious_space_is_named(folder: Path) -> None:
    assert refused("plain").endswith("Write the name of the function or class in this file after plain:")


@pytest.mark.parametrize("text", ["absent", "broken", "a-b", "''"])
def test_otherwise_the_form_is_explained(folder: Path, text: str) -> None:
    assert refused(text).endswith("Name the module, which is a file without .py, and the function or class in it.")


def test_the_folder_of_the_code_is_searched(folder: Path) -> None:
    assert refused("small", f"space.code={folder / 'models'}").endswith("Did you mean small:build?")


def test_the_name_of_a_file_instead_of_a_module_is_explained(folder: Path) -> None:
    (folder / "my_fn.py").write_text("def build_model(hp): ...\n")
    with pytest.raises(SpaceError, match=r"my_fn\.py was not found in .* Did you mean my_fn:build_model\?"):
        load_space(Space.model_validate({"import": "my_fn.py:build_model"}), (8, 8, 3), 2)


def test_the_command_says_so_with_exit_code_2(folder: Path) -> None:
    ended = run_in_process("run", "--set", "space.import=my_fn", "--bucket", folder / "bucket")
    assert ended.code == 2
    assert ended.err.startswith(f'error: --set space.import=my_fn: {FORM} "my_fn". Did you mean my_fn:build_model')
