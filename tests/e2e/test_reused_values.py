"""An upgrade from the first release of the chart, and what can be stopped after a search."""

import re
import subprocess
import tarfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest
import yaml

from tests.e2e.cluster import CHART, Namespace, Release, run, until
from tests.e2e.test_studies import SPACE

pytestmark = pytest.mark.full


@pytest.fixture(scope="module")
def first_chart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the chart of 0.1.0, whose commit the changelog names."""
    found = re.search(r"^## 0\.1\.0\n.*?Commit: (\w+)", (CHART.parent / "CHANGELOG.md").read_text(), re.M | re.S)
    assert found
    command = ["git", "-C", str(CHART.parent), "archive", found[1], "charts"]
    done = subprocess.run(command, capture_output=True, timeout=60, check=False)
    if done.returncode:
        pytest.skip("needs the history of the repository")
    folder = tmp_path_factory.mktemp("first")
    with tarfile.open(fileobj=BytesIO(done.stdout)) as archive:
        archive.extractall(folder, filter="data")
    return folder / "charts"


@pytest.fixture(scope="module")
def older(namespace: Namespace, image: str, first_chart: Path) -> Iterator[Release]:
    """Return a release of the chart of 0.1.0, with a small study."""
    release = Release(namespace, "older", image)
    repository, _, tag = image.rpartition(":")
    values = {
        "image": {"repository": repository, "tag": tag},
        "metrics": {"lingerSeconds": 0},
        "space": {"code": {"tiny.py": SPACE}},
        "study": {
            "search": {"max_trials": 3},
            "space": {"import": "tiny:Tiny"},
            "training": {"epochs": 2},
        },
        "workers": {"gpus": 0, "replicas": 1},
    }
    command = ("helm", "install", release.name, str(first_chart), "-n", namespace.name, "-f", "-")
    run(*command, stdin=yaml.safe_dump(values))
    yield release
    run("helm", "uninstall", release.name, "-n", namespace.name)


def test_a_release_of_the_first_chart_is_upgraded_with_the_values_it_has(older: Release) -> None:
    until("the first trial", older.trials)
    values = ("helm", "upgrade", older.name, str(CHART), "-n", older.namespace.name, "--reuse-values")
    run(*values)
    assert len(older.namespace.get("jobs", "-l", older.labels("worker"))) == 1
    older.await_evaluation()
    assert len(older.trials()) == 3


def test_the_bucket_is_stopped_after_a_search_and_keeps_the_study(older: Release) -> None:
    change = ("helm", "upgrade", older.name, str(CHART), "-n", older.namespace.name, "--reset-then-reuse-values")
    notes = run(*change, "--set", "bucket.emulator.replicas=0")
    assert "The bucket is stopped" in notes
    until("the bucket to stop", lambda: not older.pods("bucket"))
    assert older.namespace.get("pvc", f"{older.chart_name}-bucket")
    run(*change, "--set", "bucket.emulator.replicas=1")
    until("the trials", lambda: len(older.trials()) == 3)
