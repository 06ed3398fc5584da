"""The notebook in docs/ works on a real study, and its committed outputs are small, and of its own code."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.integration import support
from tools.notebook import FILE, executed

CELLS: list[dict[str, Any]] = [
    cell for cell in json.loads(FILE.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"
]
PLOTS = 3
MAX_BYTES = 200_000


def kinds(outputs: list[Any]) -> list[str]:
    """Return what a cell shows: text that is printed, or the types of a result."""
    return [
        output["name"] if output["output_type"] == "stream" else " ".join(sorted(output["data"]))
        for output in outputs
        if output.get("name") != "stderr"  # what TensorFlow logs
    ]


@pytest.mark.slow
def test_it_reads_a_study_of_the_command_that_it_names_and_shows_what_is_committed(tmp_path: Path) -> None:
    first = "".join(json.loads(FILE.read_text(encoding="utf-8"))["cells"][0]["source"])
    command = re.search(r"^\$ cifake-tune (run .*)$", first, re.MULTILINE)
    assert command
    quick = support.settings(search__max_trials=2, training__epochs=2, evaluation__robustness_images=0)
    with support.place(tmp_path / "place", "sample") as place:
        done = place.do(*command[1].split(), "--bucket", "cifake-tune-bucket", *quick)
        assert done.code == 0, done.err
        notebook = executed(place.folder)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [kinds(cell.outputs) for cell in cells] == [kinds(cell["outputs"]) for cell in CELLS]
    printed = "".join(output.text for cell in cells for output in cell.outputs if output.get("name") == "stdout")
    assert "study sample: finished, 2 of 2 trials" in printed
    assert "accuracy on" in printed


def test_every_cell_has_outputs_and_all_of_them_are_small() -> None:
    shown = [kind for cell in CELLS for kind in kinds(cell["outputs"])]
    assert all(cell["outputs"] for cell in CELLS)
    assert sum("image/png" in kind for kind in shown) == PLOTS
    assert FILE.stat().st_size < MAX_BYTES


def test_no_output_names_a_folder_of_the_machine_on_which_it_was_made() -> None:
    text = "".join(
        json.dumps({kind: value for kind, value in (output.get("data") or output).items() if kind != "image/png"})
        for cell in CELLS
        for output in cell["outputs"]
    )
    assert "sample" in text
    assert re.findall(r"/(?:home|root|tmp|usr|work|mnt|Users)\b", text) == []
    assert not any(output.get("name") == "stderr" for cell in CELLS for output in cell["outputs"])
