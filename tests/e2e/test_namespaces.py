"""A namespace with a running release is deleted as docs/kubernetes.md says, and one that hangs is freed."""

import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.cluster import Namespace, Release, new_namespace, run, until

GONE_S = 90.0
"""Three grace periods of a worker."""
STUDY = {"search": {"max_trials": 50}, "training": {"epochs": 50}}

pytestmark = pytest.mark.full


@pytest.fixture
def searching(request: pytest.FixtureRequest, image: str) -> Iterator[Release]:
    """A release with two workers that train, in a namespace of its own."""
    with new_namespace(f"e2e-{request.node.name.replace('_', '-')[5:50]}") as namespace:
        release = Release(namespace, "search", image)
        release.install(workers={"replicas": 2, "gpus": 0}, study=STUDY, bucket={"emulator": {"storageClass": "-"}})
        until("two workers at work", lambda: len(release.at_work()) == 2)
        yield release


def is_there(namespace: Namespace) -> bool:
    return f"namespace/{namespace.name}" in run("kubectl", "get", "namespaces", "-o", "name").split()


def has_ended(pod: Any) -> bool:
    return pod["status"]["phase"] in ("Succeeded", "Failed")


def test_after_the_release_is_uninstalled_its_namespace_goes(searching: Release) -> None:
    namespace, began = searching.namespace, time.monotonic()
    run("helm", "uninstall", searching.name, "-n", namespace.name)
    run("kubectl", "delete", "namespace", namespace.name, f"--timeout={GONE_S:g}s")
    assert not is_there(namespace)
    assert time.monotonic() - began < GONE_S


def test_a_namespace_that_hangs_goes_once_its_jobs_are_deleted(searching: Release) -> None:
    """Kubernetes 1.33 and newer deletes a Job only after its pods, and the workers' pods only after their Job."""
    namespace = searching.namespace
    run("kubectl", "delete", "namespace", namespace.name, "--wait=false")

    def only_ended_workers() -> bool:
        if not is_there(namespace):
            return True
        pods = searching.pods()
        return len(pods) == len(searching.pods("worker")) and all(map(has_ended, pods))

    until("all processes to end", only_ended_workers)
    assert is_there(namespace), "it did not hang: this test and the section of the documentation are no longer needed"
    run("kubectl", "delete", "jobs", "--all", "-n", namespace.name, "--ignore-not-found")
    until("the namespace to go", lambda: not is_there(namespace), GONE_S)
