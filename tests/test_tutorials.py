"""The tutorials: a reader who types their commands gets what they promise."""

import os
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.integration.support import FASTEST_BACKEND, JAX_ENVIRONMENT, python_with
from tests.support.console import commands

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
IMAGES_PER_CLASS = 60
pytestmark = [pytest.mark.slow, pytest.mark.exhaustive]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder like a clone, whose `make run` does not install anything."""
    program = Path(python_with(FASTEST_BACKEND)).parent
    (tmp_path / ".venv").symlink_to(program.parent)
    recipe = re.search(r"^run: .*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert recipe is not None
    (tmp_path / "Makefile").write_text(f"run:\n{recipe[1]}", encoding="utf-8")
    return tmp_path


def typed(command: str, folder: Path) -> str:
    """Return what a command prints; it must succeed."""
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env=os.environ | {"KERAS_BACKEND": FASTEST_BACKEND, "COLUMNS": "200", **JAX_ENVIRONMENT},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
    return done.stdout


def test_a_first_search(folder: Path) -> None:
    outputs = [typed(command, folder) for command in commands(DOCS / "tutorial-sample.md")]
    searched, status, first_trials, log, report, continued, trials = outputs
    assert re.search(r"^accuracy +\d+\.\d\d % \(95 % interval ", searched, re.MULTILINE)
    assert "6 of 6 ended" in status
    assert len(re.findall(r"^ *0000\d ", first_trials, re.MULTILINE)) == 6
    assert "trial 00000" in log
    assert "<html" in (folder / report.strip()).read_text(encoding="utf-8")
    assert re.search(r"^accuracy ", continued, re.MULTILINE)
    assert len(re.findall(r"^ *0000\d ", trials, re.MULTILINE)) == 8


def test_ones_own_images(folder: Path) -> None:
    random = np.random.default_rng(0)
    for channel, name in enumerate(("cats", "dogs")):
        (folder / "photos" / name).mkdir(parents=True)
        for number in range(IMAGES_PER_CLASS):
            height, width = random.integers(40, 90, 2)
            pixels = random.integers(0, 120, (height, width, 3), dtype=np.uint8)
            pixels[..., channel] += 100
            Image.fromarray(pixels).save(folder / "photos" / name / f"{number}.jpg")
    outputs = [typed(command, folder) for command in commands(DOCS / "tutorial-images.md")]
    checked, searched, predicted, report = outputs
    assert "24 of 120 images were held out" in checked
    assert "with --resize" in checked
    assert re.search(r"^accuracy +\d+\.\d\d % \(95 % interval ", searched, re.MULTILINE)
    assert re.search(r"^photos/cats/1.jpg: (cats|dogs) \d", predicted, re.MULTILINE)
    assert len(list((folder / "heatmaps").glob("*.png"))) == 2
    assert "<html" in (folder / report.strip()).read_text(encoding="utf-8")
