"""Every test here is slow, and shows the logs of its processes when it fails."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration import support

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.slow)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: Any) -> Any:
    report = yield
    if report.failed:
        report.sections += [(f"processes in {place.folder}", place.logs()) for place in support.OPEN]
    return report


@pytest.fixture
def place(tmp_path: Path) -> Iterator[support.Place]:
    with support.place(tmp_path / "place") as new_place:
        yield new_place


@pytest.fixture(scope="session")
def two_colours(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder of images that a tiny model learns."""
    return str(support.coloured_images(tmp_path_factory.mktemp("two_colours")))
