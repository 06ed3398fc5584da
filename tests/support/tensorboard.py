"""A real `tensorboard` on a folder, asked over HTTP as its own pages do."""

import contextlib
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import Request, urlopen

from tests.support.children import ending

PATIENCE_S = 120.0
PROGRAM = """
import sys, types
sys.modules["tensorboard.compat.notf"] = types.ModuleType("notf")  # as where TensorFlow, 6 s of a core, is missing
from tensorboard.main import run_main
run_main()
"""


@dataclass(frozen=True)
class TensorBoard:
    """One that runs."""

    url: str

    def tags(self) -> dict[str, set[str]]:
        """Return the names of the curves by run."""
        return {run: set(tags) for run, tags in self._ask("data/plugin/scalars/tags").items()}

    def curve(self, run: str, tag: str) -> list[tuple[int, float]]:
        """Return steps and values."""
        points = self._ask(f"data/plugin/scalars/scalars?{urlencode({'run': run, 'tag': tag})}")
        return [(step, float(value)) for _, step, value in points]

    def experiment(self) -> dict[str, Any]:
        """Return what the HParams page knows of its columns."""
        return self._ask("data/plugin/hparams/experiment", {"experimentName": "x"})

    def trials(self) -> list[dict[str, Any]]:
        """Return the rows of the HParams page."""
        metrics = [{"metric": info["name"]} for info in self.experiment()["metricInfos"]]
        request = {
            "experimentName": "x",
            "allowedStatuses": ["STATUS_SUCCESS", "STATUS_FAILURE", "STATUS_RUNNING", "STATUS_UNKNOWN"],
            "colParams": metrics,
            "startIndex": 0,
            "sliceSize": 1000,
        }
        rows: list[dict[str, Any]] = self._ask("data/plugin/hparams/session_groups", request)["sessionGroups"]
        return rows

    def wait_for(self, condition: Callable[["TensorBoard"], bool]) -> None:
        """Wait until it has read so much that the condition is true."""
        deadline = time.monotonic() + PATIENCE_S
        while not condition(self):
            assert time.monotonic() < deadline, f"TensorBoard knows {self.tags()}"
            time.sleep(0.2)

    def _ask(self, path: str, body: dict[str, Any] | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = Request(f"{self.url}{path}", data, {"Content-Type": "application/json"})
        with urlopen(request, timeout=30) as answer:
            return json.load(answer)


@contextlib.contextmanager
def running_tensorboard(folder: Path) -> Iterator[TensorBoard]:
    """Start `tensorboard --logdir`, and stop it at the end."""
    command = [sys.executable, "-c", PROGRAM, "--logdir", str(folder), "--host", "127.0.0.1", "--port", "0"]
    log = folder.parent / "tensorboard.log"
    with log.open("wb") as out, ending(subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)) as process:
        deadline = time.monotonic() + PATIENCE_S
        while not (match := re.search(r"at (http://\S+/) ", log.read_text())):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        yield TensorBoard(match[1])
