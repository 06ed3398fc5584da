"""Buckets, small data sets, and CIFAKE itself."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.data.images import Files, data_set
from tests.support.gcs_emulator import Emulator
from tuner.bucket import Bucket, open_bucket

ROOT = Path(__file__).resolve().parents[2]
CIFAKE_DIR = Path(os.environ.get("CIFAKE_DIR", ROOT.parent / "shared" / "cifake"))


@pytest.fixture
def bucket(tmp_path: Path) -> Bucket:
    return open_bucket(str(tmp_path / "bucket"))


@pytest.fixture
def files() -> Files:
    return data_set()


@pytest.fixture
def gcs_url(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", emulator.url)
    return f"gs://{emulator.new_bucket()}"


@pytest.fixture(params=["gs", "s3", "az"])
def remote_url(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of a fresh bucket of each object store, which the environment leads to."""
    if request.param == "gs":
        url: str = request.getfixturevalue("gcs_url")
        return url
    server = request.getfixturevalue({"s3": "s3_server", "az": "azure_server"}[request.param])
    for variable, value in server.environment().items():
        monkeypatch.setenv(variable, value)
    return f"{request.param}://{server.new_bucket()}"


@pytest.fixture(scope="session")
def cifake_zip(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The whole of CIFAKE as one archive, as it is downloaded."""
    unpack = CIFAKE_DIR / "unpack"
    if not unpack.exists():
        pytest.skip(f"CIFAKE is not in {CIFAKE_DIR}; set CIFAKE_DIR to the folder that has its `unpack`")
    path = tmp_path_factory.mktemp("cifake") / "archive.zip"
    subprocess.run([sys.executable, str(unpack), str(path)], check=True, stdout=subprocess.DEVNULL)
    yield path
    path.unlink()  # 120 MB, and pytest keeps the last runs' folders
