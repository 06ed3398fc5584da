"""Packages that a worker's start leaves out can be imported by a space."""

import gc
import os
import subprocess
from pathlib import Path

import pytest

from tests.integration.support import ROOT, python_with
from tests.support.command_line import run_in_process
from tuner import keras_backend
from tuner.cli.backend import importing_keras
from tuner.errors import ConfigError, ExitCode

SCRIPT = """
import sys
from tuner.cli.backend import choose_backend, importing_keras
choose_backend()
with importing_keras(whole={whole}):
    import tuner.worker.run
OPTIONAL = "matplotlib", "scipy", "scipy.optimize", "sklearn"
print("imported", *[name for name in OPTIONAL if name in sys.modules])
import scipy.ndimage, scipy.optimize, sklearn.gaussian_process, matplotlib
print("there", scipy.ndimage.shift([1.0, 2.0], 1).tolist())
"""


PLUGIN = """
def initialize():
    raise RuntimeError("operation cuInit(0) failed: Unknown CUDA error 303")
"""


@pytest.mark.slow
def test_jax_without_a_driver_says_so_in_one_sentence(tmp_path: Path) -> None:
    folder = tmp_path / "jax_plugins" / "xla_cuda12"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text(PLUGIN)
    script = "from tuner.cli.backend import import_keras; import_keras(); import jax; print(jax.devices()[0].platform)"
    done = subprocess.run(
        [python_with("jax"), "-c", script],
        env={**os.environ, "KERAS_BACKEND": "jax", "PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "cpu\n"
    (line,) = done.stderr.splitlines()
    assert "so JAX computes on the CPU. Check that the node has the GPU's driver" in line
    assert line.endswith("operation cuInit(0) failed: Unknown CUDA error 303")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "whole", "imported"),
    [
        ("tensorflow", False, set()),
        ("tensorflow", True, {"matplotlib", "scipy", "scipy.optimize", "sklearn"}),
        ("jax", False, {"scipy"}),
    ],
)
def test_plots_and_the_gaussian_process_are_not_imported_unless_asked_for(
    name: str, whole: bool, imported: set[str]
) -> None:
    command = [str(python_with(name)), "-c", SCRIPT.format(whole=whole)]
    environment = os.environ | {"KERAS_BACKEND": name}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=True)
    first, second = done.stdout.splitlines()
    assert set(first.split()[1:]) == imported
    assert second == "there [0.0, 1.0]"


def test_no_garbage_is_collected_while_keras_is_imported_but_afterwards() -> None:
    with importing_keras():
        assert not gc.isenabled()
    assert gc.isenabled()
    with pytest.raises(ImportError), importing_keras():
        raise ImportError
    assert gc.isenabled()


# ---- choosing the backend -----------------------------------------------------------------------
@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> set[str]:
    """Packages that are found, and no configuration of Keras."""
    packages = {"tensorflow", "jax"}
    monkeypatch.setattr(keras_backend, "find_spec", lambda name: name if name in packages else None)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    return packages


@pytest.mark.parametrize("name", ["torch", "openvino", "nonsense", "TensorFlow", "\x1b[31m"])
def test_an_unsupported_backend_is_an_error(name: str, installed: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_BACKEND", name)
    with pytest.raises(ConfigError) as caught:
        keras_backend.choose_backend()
    assert str(caught.value) == f"KERAS_BACKEND must be tensorflow or jax, got {name!r}. Correct or remove it."


def test_a_backend_that_is_not_installed_is_an_error(installed: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    installed.remove("tensorflow")
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    with pytest.raises(ConfigError, match=r"TensorFlow is not installed\. Install cifake-tune\[tensorflow\]"):
        keras_backend.choose_backend()


@pytest.mark.parametrize(("packages", "chosen"), [({"tensorflow", "jax"}, None), ({"jax"}, "jax")])
def test_an_empty_backend_is_the_default(
    packages: set[str], chosen: str | None, installed: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    installed.intersection_update(packages)
    monkeypatch.setenv("KERAS_BACKEND", "")
    keras_backend.choose_backend()
    assert os.environ.get("KERAS_BACKEND") == chosen


@pytest.mark.parametrize("command", ["run", "chief", "worker", "evaluate", "predict x.png"])
def test_every_command_that_needs_keras_names_the_backends(command: str, tmp_path: Path) -> None:
    environment = {"KERAS_BACKEND": "torch", "CIFAKE_TUNE_BUCKET": str(tmp_path), "CIFAKE_TUNE_CACHE": str(tmp_path)}
    done = run_in_process(*command.split(), environment=environment)
    assert done.code == ExitCode.USAGE
    assert done.err == "error: KERAS_BACKEND must be tensorflow or jax, got 'torch'. Correct or remove it.\n"
    assert list(tmp_path.iterdir()) == []


def test_the_configuration_of_keras_may_choose_the_backend(installed: set[str], tmp_path: Path) -> None:
    (tmp_path / "keras.json").write_text('{"backend": "torch"}')
    with pytest.raises(ConfigError, match=r"the backend in \S+keras.json must be tensorflow or jax, got 'torch'"):
        keras_backend.choose_backend()
    for text in ('{"backend": "jax"}', "{broken", "[]", '{"backend": 3}'):
        (tmp_path / "keras.json").write_text(text)
        keras_backend.choose_backend()
