"""Nodes that are preempted and lost under a study, on the cluster of ../shared/cluster."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.cluster import Namespace, Release, conditions_of, run, until

NODE = Path(os.environ.get("CLUSTER_SCRIPTS", "../shared/cluster")) / "node"
pytestmark = [
    pytest.mark.full,
    pytest.mark.skipif(not shutil.which(NODE), reason="only ../shared/cluster can lose a node"),
]


@pytest.fixture(scope="module")
def running(namespace: Namespace, image: str) -> Iterator[Release]:
    """A study that lasts as long as the tests of this module."""
    release = Release(namespace, "cifake-tune", image)
    release.install(
        study={
            "search": {"max_trials": 400, "early_stopping": {"policy": "none"}},
            "training": {"epochs": 8},
            "leases": {"duration_s": 6.0},
        }
    )
    until("the first epochs", lambda: len(release.running("worker")) == 2 and release.epochs() >= 2)
    yield release
    run("helm", "uninstall", release.name, "-n", namespace.name)


@pytest.fixture
def node() -> Iterator[Callable[[str, str], None]]:
    """Do something to a node; it is back at the end."""
    touched: set[str] = set()

    def do(verb: str, name: str) -> None:
        touched.add(name)
        subprocess.run([NODE, verb, name], check=True, capture_output=True, timeout=120)

    yield do
    for name in touched:
        subprocess.run([NODE, "start", name], check=True, capture_output=True, timeout=120)
        until(f"{name} to be ready", lambda name=name: "Ready" in conditions_of(get_node(name)))  # type: ignore[misc]
        subprocess.run([NODE, "gpus", name, "4"], check=True, capture_output=True, timeout=60)
        run("kubectl", "uncordon", name)


def get_node(name: str) -> object:
    return Namespace("default").get("node", name)


def survived(release: Release, epochs: int) -> bool:
    """Say whether the search has gone on: reported epochs beyond those before, by trials none of which failed."""
    assert [trial for trial in release.trials() if trial["state"] == "FAILED"] == []
    return release.epochs() >= epochs + 4


def two_workers_without(release: Release, lost: str) -> bool:
    workers = release.running("worker")
    return len(workers) == 2 and lost not in {pod["spec"]["nodeName"] for pod in workers}


def other_node(release: Release) -> str:
    """Return a node with a worker and without the bucket, whose loss is for real clouds a matter of minutes."""
    bucket = release.running("bucket")[0]["spec"]["nodeName"]
    return next(str(pod["spec"]["nodeName"]) for pod in release.running("worker") if pod["spec"]["nodeName"] != bucket)


def test_a_preempted_nodes_worker_comes_back_elsewhere(running: Release, node: Callable[[str, str], None]) -> None:
    lost, epochs = other_node(running), running.epochs()
    node("preempt", lost)
    until("two workers elsewhere", lambda: two_workers_without(running, lost))
    until("the search to go on", lambda: survived(running, epochs))
    until("two workers", lambda: len({t["worker"] for t in running.trials() if t["state"] == "RUNNING"}) == 2)


def test_a_node_that_is_lost_without_notice_takes_no_trial_with_it(
    running: Release, node: Callable[[str, str], None]
) -> None:
    """The trial goes on at once, and the worker is replaced when the cloud removes the Node."""
    run("kubectl", "-n", running.namespace.name, "delete", "pod", "-l", running.labels("worker"))  # spread them anew
    until("two nodes", lambda: len({pod["spec"]["nodeName"] for pod in running.running("worker")}) == 2)
    until("two workers", lambda: len({t["worker"] for t in running.trials() if t["state"] == "RUNNING"}) == 2)
    lost, epochs = other_node(running), running.epochs()
    node("kill", lost)
    until("the search to go on", lambda: survived(running, epochs))
    run("kubectl", "delete", "node", lost)
    until("two workers elsewhere", lambda: two_workers_without(running, lost))
