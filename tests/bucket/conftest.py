"""Buckets of every kind, for the tests that hold for all of them."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from tests.bucket.far_buckets import FarServer, bucket_of, lead, proxy_of
from tests.support.fault_proxy import FaultProxy, Faults
from tests.support.gcs_emulator import Emulator
from tests.support.object_servers import AzureServer, ObjectServer, S3Server
from tuner.bucket import Bucket, open_bucket
from tuner.bucket.gcs import connect
from tuner.monitoring.measured_bucket import MeasuredBucket


@pytest.fixture
def gcs_url(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of a fresh bucket, which the environment leads to."""
    lead(monkeypatch, emulator)
    return f"gs://{emulator.new_bucket()}/some/prefix"


@pytest.fixture
def s3_url(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of a fresh bucket of an S3 server, which the environment leads to."""
    return _url(s3_server, monkeypatch)


@pytest.fixture
def azure_url(azure_server: AzureServer, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of a fresh container of an Azure server, which the environment leads to."""
    return _url(azure_server, monkeypatch)


def _url(server: ObjectServer, monkeypatch: pytest.MonkeyPatch) -> str:
    lead(monkeypatch, server)
    # of a prefix, too, every character is taken literally
    return f"{server.scheme}://{server.new_bucket()}/some/pré fix+%41"


@pytest.fixture(params=["folder", "gcs", "s3", "azure"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a fresh bucket of each kind."""
    return str(tmp_path / "bucket") if request.param == "folder" else request.getfixturevalue(f"{request.param}_url")


@pytest.fixture
def bucket(url: str) -> Bucket:
    """As chief and workers use it: measured."""
    return MeasuredBucket(open_bucket(url), CollectorRegistry())


@pytest.fixture
def make_folder(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Make an empty folder, its URL ending with a slash; of an object store, as its console does."""

    def make(url: str) -> None:
        scheme, _, rest = url.rpartition("://")
        bucket_name, _, name = rest.partition("/")
        if not scheme:
            Path(url).mkdir(parents=True, exist_ok=True)
        elif scheme == "gs":
            connect().bucket(bucket_name).blob(name).upload_from_string(b"")
        else:
            server = request.getfixturevalue("s3_server" if scheme == "s3" else "azure_server")
            server.make_folder(bucket_name, name)

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


@pytest.fixture(params=["gcs", "s3", "azure"])
def server(request: pytest.FixtureRequest) -> FarServer:
    """A server of each kind. Tests of some kinds only override this."""
    running: FarServer = request.getfixturevalue("emulator" if request.param == "gcs" else f"{request.param}_server")
    return running


@pytest.fixture
def proxy(server: FarServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultProxy]:
    """A network to the server whose faults are scripted; only what writes meets them."""
    with proxy_of(server, Faults(stall_s=20)) as running:
        running.scripted_methods = frozenset({"POST", "PUT", "DELETE"})
        lead(monkeypatch, server, running.url)
        yield running


@pytest.fixture
def far_bucket(server: FarServer, proxy: FaultProxy) -> Bucket:
    return bucket_of(server, server.new_bucket(), "p", deadline_s=20, timeout_s=0.5)
