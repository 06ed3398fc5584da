"""What tests of more than one part share."""

import gc
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.gcs_emulator import Emulator, running_emulator
from tests.support.object_servers import VARIABLES, AzureServer, S3Server, running_azure, running_s3
from tuner.worker.chief_outage import ChiefOutage

# The tests' own clients, such as Keras Tuner's, would call servers on loopback through the developer's proxy.
for _name in ("no_proxy", "NO_PROXY"):
    os.environ[_name] = ",".join(filter(None, [os.environ.get(_name), "127.0.0.1", "localhost"]))
for _name in VARIABLES:
    os.environ.pop(_name, None)


def pytest_collection_finish() -> None:
    """Keep the garbage collector from looking through TensorFlow's modules again and again.

    Keras collects garbage whenever a model is built: 0.2 s of a core each time with all modules imported, 5 ms
    without them.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def outages_end(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """End the outages that a test has begun, whose threads would log during later tests of this process."""
    begun: list[ChiefOutage] = []
    begin = ChiefOutage.begin

    def remembered(outage: ChiefOutage, cause: str = "") -> None:
        begun.append(outage)
        begin(outage, cause)

    monkeypatch.setattr(ChiefOutage, "begin", remembered)
    yield
    for outage in begun:
        outage.close()


@pytest.fixture(scope="session")
def emulator() -> Iterator[Emulator]:
    with running_emulator() as running:
        yield running


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    with running_s3() as running:
        yield running


@pytest.fixture(scope="session")
def azure_server() -> Iterator[AzureServer]:
    with running_azure() as running:
        yield running


@pytest.fixture
def jax_python() -> Path:
    """An interpreter with JAX and no TensorFlow."""
    named = os.environ.get("CIFAKE_TUNE_JAX_PYTHON")
    if not named:
        pytest.skip("CIFAKE_TUNE_JAX_PYTHON names no interpreter with JAX (`make test` sets it)")
    return Path(named)
