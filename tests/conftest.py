"""What tests of more than one part share."""

from collections.abc import Iterator

import pytest

from tests.support.gcs_emulator import Emulator, running_emulator


@pytest.fixture(scope="session")
def emulator() -> Iterator[Emulator]:
    with running_emulator() as running:
        yield running
