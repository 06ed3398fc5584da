"""Execute docs/notebooks/study.ipynb, and keep its outputs.

`python tools/notebook.py FOLDER` runs the notebook in a folder that has the study which its first cell describes. A
test executes the notebook too, and checks that its outputs are of the kinds that are kept here.
"""

import os
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

ROOT = Path(__file__).parents[1]
FILE = ROOT / "docs" / "notebooks" / "study.ipynb"
CELL_S = 300


def executed(folder: Path) -> NotebookNode:
    """Return the notebook with the outputs that it has in a folder. Raises CellExecutionError."""
    notebook = nbformat.read(FILE, as_version=4)
    with tempfile.TemporaryDirectory() as own:
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")])),
            "IPYTHONDIR": own,
            "JUPYTER_RUNTIME_DIR": own,
            "TF_CPP_MIN_LOG_LEVEL": "3",
        }
        client = NotebookClient(notebook, timeout=CELL_S, kernel_name="python3", record_timing=False)
        client.execute(cwd=str(folder), env=environment)
    return notebook


def main() -> None:
    """Write the outputs into the notebook, without what TensorFlow logs."""
    notebook = executed(Path(sys.argv[1]))
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
            cell.metadata = {}
    notebook.metadata = {"language_info": {"name": "python"}}
    nbformat.write(notebook, FILE)


if __name__ == "__main__":
    main()
