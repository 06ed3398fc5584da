"""A namespace for each module's tests, and releases in it, on the cluster that KUBECONFIG names.

`make e2e` says which image; without CIFAKE_TUNE_E2E_IMAGE nothing is installed anywhere.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e import nodes
from tests.e2e.cluster import Namespace, Release, new_namespace, run

IMAGE = os.environ.get("CIFAKE_TUNE_E2E_IMAGE")
HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.e2e)
            if not IMAGE:
                item.add_marker(pytest.mark.skip(reason="needs a cluster: `make e2e`"))


@pytest.fixture(scope="module")
def namespace(request: pytest.FixtureRequest) -> Iterator[Namespace]:
    name = "e2e-" + request.module.__name__.rpartition("test_")[2].replace("_", "-")
    with new_namespace(name) as namespace:
        yield namespace


@pytest.fixture(scope="module")
def image() -> str:
    return IMAGE or ""


@pytest.fixture
def release(namespace: Namespace, image: str) -> Iterator[Callable[[str], Release]]:
    """Make releases, which are gone after the test; what is kept of them goes with the namespace."""
    release_names: list[str] = []

    def make(name: str) -> Release:
        release_names.append(name)
        return Release(namespace, name, image)

    yield make
    for name in release_names:
        run("helm", "uninstall", name, "-n", namespace.name, "--ignore-not-found")


@pytest.fixture
def lose_node() -> Iterator[Callable[[str, str], None]]:
    """Take a node away, by its name and the verb of `nodes.lose`; it is back after the test."""
    lost: set[str] = set()

    def lose(name: str, verb: str) -> None:
        lost.add(name)
        nodes.lose(name, verb)

    yield lose
    for name in lost:
        nodes.bring_back(name)
