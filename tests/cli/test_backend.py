"""Packages that a worker's start leaves out can be imported by a space."""

import subprocess
import sys

import pytest

SCRIPT = """
import sys
from tuner.cli.backend import choose_backend, importing_keras
choose_backend()
with importing_keras(whole={whole}):
    import tuner.worker.run
print("imported", *[name for name in ("matplotlib", "scipy", "sklearn") if name in sys.modules])
import scipy.ndimage, sklearn.gaussian_process, matplotlib
print("there", scipy.ndimage.shift([1.0, 2.0], 1).tolist())
"""


@pytest.mark.slow
@pytest.mark.parametrize(("whole", "imported"), [(False, set()), (True, {"matplotlib", "scipy", "sklearn"})])
def test_plots_and_the_gaussian_process_are_not_imported_unless_asked_for(whole: bool, imported: set[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(whole=whole)], capture_output=True, text=True, timeout=120, check=True
    )
    first, second = done.stdout.splitlines()
    assert set(first.split()[1:]) == imported
    assert second == "there [0.0, 1.0]"
