"""The tutorial about a cluster: a reader who types its commands gets what it promises."""

import json
import os
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.e2e.cluster import CHART, WAIT_S, run, until
from tests.support.console import commands

ROOT = CHART.parent
PAGE = ROOT / "docs" / "tutorial-cluster.md"
NAMESPACE = "e2e-tutorial"


@pytest.fixture
def folder(image: str, tmp_path: Path) -> Path:
    """Return a folder like a clone, with the values of the page for this cluster's image."""
    values = re.search(r"^```yaml\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert values is not None
    repository, _, tag = image.rpartition(":")
    adapted = values[1].replace("repository: REGISTRY/cifake-tune, tag: v1", f"repository: {repository}, tag: {tag}")
    assert adapted != values[1]
    (tmp_path / "values.yaml").write_text(adapted, encoding="utf-8")
    (tmp_path / "charts").symlink_to(CHART)
    (tmp_path / ".venv").symlink_to(ROOT / ".venv")
    return tmp_path


def typed(command: str, folder: Path, codes: Sequence[int] = (0,)) -> str:
    """Return what a command prints; it must end with one of these exit codes."""
    done = subprocess.run(
        ["bash", "-c", command], cwd=folder, capture_output=True, text=True, timeout=2 * WAIT_S, check=False,
        env=os.environ | {"COLUMNS": "200"},
    )  # fmt: skip
    assert done.returncode in codes, f"{command}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
    return done.stdout


def test_a_release_on_a_cluster(folder: Path) -> None:
    steps = [command.replace("namespace tutorial", f"namespace {NAMESPACE}") for command in commands(PAGE)]
    on_a_cluster = [step for step in steps if not step.startswith(("make image", "docker push"))]
    create, doctor, install, status, lose, wait, trials, report, uninstall, delete = on_a_cluster
    try:
        for step in (create, doctor, install):
            typed(step, folder)
        # the first pods wait for their certificates for some seconds, which `status` tells as a problem
        until("the search to begin", lambda: "trials" in typed(status, folder, codes=(0, 3)))
        until("both workers", lambda: len(workers()) == 2)
        typed(lose, folder)
        typed(wait, folder)
        assert len(re.findall(r"^ *0000\d ", typed(trials, folder), re.MULTILINE)) == 4
        typed(report, folder)
        assert "<html" in (folder / "report.html").read_text(encoding="utf-8")
    finally:
        typed(uninstall + " --ignore-not-found", folder)  # before the namespace, in which a Job cannot replace a pod
        typed(delete + " --ignore-not-found", folder)


def workers() -> list[str]:
    """Return the names of the workers' pods that run."""
    label = "app.kubernetes.io/component=worker"
    pods = json.loads(run("kubectl", "get", "pods", "-n", NAMESPACE, "-l", label, "-o", "json"))["items"]
    return [pod["metadata"]["name"] for pod in pods if pod["status"]["phase"] == "Running"]
