"""A real MLflow server on loopback, with a database in a folder."""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest
import requests

from tests.support.children import ending
from tests.support.gcs_emulator import free_port

START_S = 120.0


@contextlib.contextmanager
def mlflow_server(folder: Path) -> Iterator[str]:
    """Run a server, and yield its URL. Skip the test if only the client, or nothing of MLflow, is installed."""
    if find_spec("mlflow") is None or find_spec("flask") is None:
        pytest.skip("needs an MLflow server (the package mlflow, which requirements/dev.txt has)")
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    log = folder / "mlflow.log"
    command = [
        sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
        "--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}",
        "--artifacts-destination", str(folder / "artifacts"),
    ]  # fmt: skip
    environment = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"}
    with log.open("ab") as output:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=output, stderr=output)
    with ending(process):
        deadline = time.monotonic() + START_S
        while not _answers(url):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        yield url


def _answers(url: str) -> bool:
    with contextlib.suppress(requests.RequestException):
        return requests.get(f"{url}/health", timeout=5).ok
    return False


@dataclass(frozen=True)
class ShownRun:
    """What a server shows of a run."""

    run_id: str
    name: str
    status: str
    ended_ms: int | None
    params: dict[str, str]
    tags: dict[str, str]
    points: dict[str, list[tuple[int, float]]]
    """Step and value of every point of each metric, also of points that are there twice."""


def shown_runs(url: str, experiment: str) -> list[ShownRun]:
    """Return the runs of an experiment that are not deleted, sorted by name."""
    from mlflow import MlflowClient

    client = MlflowClient(url)
    found = client.get_experiment_by_name(experiment)
    runs = client.search_runs([found.experiment_id], max_results=1000) if found else []
    return sorted(
        (
            ShownRun(
                run.info.run_id,
                run.info.run_name,
                run.info.status,
                run.info.end_time,
                run.data.params,
                run.data.tags,
                {
                    key: sorted((point.step, point.value) for point in client.get_metric_history(run.info.run_id, key))
                    for key in run.data.metrics
                },
            )
            for run in runs
        ),
        key=lambda run: run.name,
    )
