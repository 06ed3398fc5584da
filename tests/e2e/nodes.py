"""Losing nodes, which only the cluster of ../shared/cluster can; and building an image for it."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.cluster import Namespace, Release, conditions_of, run, until

SCRIPTS = Path(os.environ.get("CLUSTER_SCRIPTS", "../shared/cluster"))
NODE, IMAGE = SCRIPTS / "node", SCRIPTS / "image"
needs_nodes = pytest.mark.skipif(not shutil.which(NODE), reason="only ../shared/cluster can lose a node")
needs_builder = pytest.mark.skipif(not shutil.which(IMAGE), reason="only ../shared/cluster builds images")


def lose(name: str, verb: str) -> None:
    """Take a node away: `preempt` gives its pods notice, `kill` does not."""
    subprocess.run([NODE, verb, name], check=True, capture_output=True, timeout=120)


def bring_back(name: str) -> None:
    """Start a node again, and wait until it takes pods."""
    subprocess.run([NODE, "start", name], check=True, capture_output=True, timeout=120)
    until(f"{name} to be ready", lambda: "Ready" in conditions_of(Namespace("default").get("node", name)))
    subprocess.run([NODE, "gpus", name, "4"], check=True, capture_output=True, timeout=60)
    run("kubectl", "uncordon", name)


def build(image: str, folder: Path) -> None:
    """Build the image that a folder's Dockerfile says, and put it where the cluster pulls from."""
    subprocess.run([IMAGE, "build", folder, folder / "Dockerfile", image], check=True, capture_output=True, timeout=600)


def node_of(pod: Any) -> str:
    """Return the name of the node that a pod is on."""
    return str(pod["spec"]["nodeName"])


def await_workers(release: Release, count: int) -> None:
    """Wait until so many workers train, and the pods of no others are there."""
    expected = {f"worker-{index}" for index in range(count)}
    until(f"{count} workers at work", lambda: release.at_work() == expected and len(release.running("worker")) == count)


def spread(release: Release) -> str:
    """Have a worker on each node, and return the node that the bucket is not on: its loss is a matter of minutes."""
    if len({node_of(pod) for pod in release.running("worker")}) < 2:
        release.namespace.kubectl("delete", "pod", "-l", release.labels("worker"))
        until("workers on two nodes", lambda: len({node_of(pod) for pod in release.running("worker")}) == 2)
    await_workers(release, 2)
    bucket = node_of(release.running("bucket")[0])
    return next(node_of(pod) for pod in release.running("worker") if node_of(pod) != bucket)


def two_workers_without(release: Release, lost: str) -> bool:
    """Say whether two workers run, and none on a node."""
    workers = release.running("worker")
    return len(workers) == 2 and lost not in {node_of(pod) for pod in workers}
