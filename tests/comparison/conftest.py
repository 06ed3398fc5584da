"""Every test here starts TensorFlow processes."""

from pathlib import Path

import pytest

from tests.integration.conftest import two_colours  # noqa: F401  (a fixture)

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.slow)
            item.add_marker(pytest.mark.exhaustive)
