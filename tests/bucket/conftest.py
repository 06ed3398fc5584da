"""Buckets of every kind, for the tests that hold for all of them."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from tests.support.gcs_emulator import Emulator
from tuner.bucket import Bucket, open_bucket
from tuner.bucket.gcs import connect
from tuner.monitoring.measured_bucket import MeasuredBucket


@pytest.fixture
def gcs_url(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of a fresh bucket, which the environment leads to."""
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", emulator.url)
    return f"gs://{emulator.new_bucket()}/some/prefix"


@pytest.fixture(params=["folder", "gcs"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a fresh bucket of each kind."""
    return request.getfixturevalue("gcs_url") if request.param == "gcs" else str(tmp_path / "bucket")


@pytest.fixture
def bucket(url: str) -> Bucket:
    """As chief and workers use it: measured."""
    return MeasuredBucket(open_bucket(url), CollectorRegistry())


@pytest.fixture
def make_folder() -> Callable[[str], None]:
    """Make an empty folder, its URL ending with a slash; of GCS, as the console does."""

    def make(url: str) -> None:
        if not url.startswith("gs://"):
            Path(url).mkdir(parents=True, exist_ok=True)
            return
        bucket_name, name = url.removeprefix("gs://").split("/", 1)
        connect().bucket(bucket_name).blob(name).upload_from_string(b"")

    return make


@pytest.fixture
def make_file(tmp_path: Path) -> Iterator[Callable[[str, int], Path]]:
    """Make a file of a size whose bytes differ from place to place."""
    folder = tmp_path / "files"
    folder.mkdir()

    def make(name: str, size_bytes: int) -> Path:
        path = folder / name
        block = bytes(range(251)) * 4096  # 251 is prime: pieces do not repeat at their borders
        with path.open("wb") as file:
            for start in range(0, size_bytes, len(block)):
                file.write(block[: size_bytes - start])
        return path

    yield make
    shutil.rmtree(folder)  # large, and pytest keeps the last runs' folders
