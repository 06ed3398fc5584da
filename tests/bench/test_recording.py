"""The recorder of learning curves: what survives when it is killed, and that its digits are trained as by Keras."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from bench.recording.rows import Row, Rows
from tests.integration.support import JAX_ENVIRONMENT, JAX_PYTHON

ROOT = Path(__file__).parents[2]


def test_a_recording_that_was_killed_continues_without_its_incomplete_line(tmp_path: Path) -> None:
    path, about = tmp_path / "rows.jsonl", {"table": "t"}
    with Rows(path, about).appending() as recording:
        recording.add(Row(4, [1, 2], 0.5, 10))
        recording.add(Row(2, [3, 4], 0.5, 10))
    with open(path, "a", encoding="utf-8") as stream:
        stream.write('{"number": 7, "ri')
    again = Rows(path, about)
    assert set(again.rows) == {2, 4}
    with again.appending() as recording:
        recording.add(Row(7, [5, 6], 0.5, 10))
    assert Rows(path, about).rows[7] == Row(7, [5, 6], 0.5, 10)
    assert len(path.read_text().splitlines()) == 4


def test_the_rows_of_another_grid_are_refused(tmp_path: Path) -> None:
    Rows(tmp_path / "rows.jsonl", {"epochs": 27})
    with pytest.raises(SystemExit, match="another grid"):
        Rows(tmp_path / "rows.jsonl", {"epochs": 9})


@pytest.mark.slow
@pytest.mark.skipif(JAX_PYTHON is None, reason="needs JAX: CIFAKE_TUNE_JAX_PYTHON")
def test_the_digits_networks_are_trained_as_by_keras() -> None:
    command = [str(JAX_PYTHON), "-m", "tests.bench.keras_steps"]
    environment = os.environ | {"KERAS_BACKEND": "jax"} | JAX_ENVIRONMENT
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    differences = json.loads(done.stdout.splitlines()[-1])
    assert len(differences) == 4
    assert max(differences.values()) < 1e-4, differences
