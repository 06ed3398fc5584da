"""What is special about buckets of S3 and Azure: conditions, refusals, silence, certificates. Real servers."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.bucket.far_buckets import bucket_of, lead
from tests.support.certificates import Authority
from tests.support.fault_proxy import Fault, FaultProxy, Request
from tests.support.gcs_emulator import free_port
from tests.support.object_servers import ObjectServer, S3Server, running_careless_s3, running_s3
from tests.support.proxies import running_noting_proxy, through
from tests.support.refuser import running_refuser
from tuner.bucket import Bucket, check_conditional_writes, open_bucket
from tuner.bucket.object_services import AzureService, S3Service
from tuner.bucket.object_store import ObjectStoreBucket
from tuner.errors import BucketError, BucketFullError, UsageError

MANY = 1_200
"""More objects than a page of a listing has."""


@pytest.fixture(params=["s3", "azure"])
def server(request: pytest.FixtureRequest) -> ObjectServer:
    """A server of each kind."""
    running: ObjectServer = request.getfixturevalue(f"{request.param}_server")
    return running


# ---- a bad network ------------------------------------------------------------------------------
def test_a_full_bucket_is_an_error_at_once_and_keeps_nothing(proxy: FaultProxy, far_bucket: Bucket) -> None:
    proxy.script.append(Fault.FULL)
    with pytest.raises(BucketFullError, match=r"Cannot write a in .*: no space is left there \(507"):
        far_bucket.write("a", b"1")
    assert not proxy.script
    assert list(far_bucket.list()) == []


def test_a_download_continues_where_its_connection_was_lost(
    server: ObjectServer, proxy: FaultProxy, make_file: Callable[[str, int], Path], tmp_path: Path
) -> None:
    source = make_file("large", 9 << 20)
    bucket = bucket_of(server, server.new_bucket(), timeout_s=5)
    bucket.upload("a", source)
    cut = proxy.cut_after_bytes = 5 << 20
    requests: list[Request] = []
    proxy.observer = lambda request, status: requests.append(request)
    bucket.download("a", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == source.read_bytes()
    ranges = [line for request in requests for line in request.head.lower().split(b"\r\n") if b"range:" in line]
    assert len(ranges) == len(requests) - 1
    assert 0 < int(ranges[0].split(b"=")[1].split(b"-")[0]) <= cut


def test_an_object_that_is_replaced_while_it_is_read_is_not_mixed(
    server: ObjectServer, proxy: FaultProxy, make_file: Callable[[str, int], Path], tmp_path: Path
) -> None:
    bucket = bucket_of(server, server.new_bucket(), timeout_s=5)
    bucket.upload("a", make_file("large", 9 << 20))
    proxy.cut_after_bytes = 5 << 20

    def replace_it(request: Request, status: int) -> None:
        if request.method == "GET":
            proxy.observer = lambda request, status: None
            lead_directly.upload("a", make_file("other", 8 << 20))

    with pytest.MonkeyPatch.context() as patch:
        lead(patch, server)
        lead_directly = bucket_of(server, bucket.url.rpartition("/")[2])
    proxy.observer = replace_it
    with pytest.raises(BucketError, match=r"a in .* was replaced or deleted while it was being read"):
        bucket.download("a", tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


# ---- conditional writes -------------------------------------------------------------------------
def test_a_store_with_conditional_writes_passes_and_is_left_empty(
    server: ObjectServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    lead(monkeypatch, server)
    bucket = bucket_of(server, server.new_bucket())
    check_conditional_writes(bucket)
    assert list(bucket.list()) == []


@pytest.fixture
def careless_bucket(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    with running_careless_s3(s3_server) as url:
        lead(monkeypatch, s3_server, url)
        yield open_bucket(f"s3://{s3_server.new_bucket()}")


def test_a_store_without_conditional_writes_is_refused_by_name(careless_bucket: Bucket) -> None:
    with pytest.raises(UsageError, match=rf"{careless_bucket.url} cannot store a study: it has no conditional writes"):
        check_conditional_writes(careless_bucket)
    assert list(careless_bucket.list()) == []


# ---- refusals and silence -----------------------------------------------------------------------
Step = Callable[[Bucket, Path], object]
EVERY_STEP = pytest.mark.parametrize(
    "step",
    [
        pytest.param(lambda bucket, _: bucket.read("a"), id="read"),
        pytest.param(lambda bucket, _: bucket.write("a", b"1"), id="write"),
        pytest.param(lambda bucket, _: bucket.create("a", b"1"), id="create"),
        pytest.param(lambda bucket, path: bucket.upload("a", path), id="upload"),
        pytest.param(lambda bucket, path: bucket.download("a", path), id="download"),
        pytest.param(lambda bucket, _: bucket.exists("a"), id="exists"),
        pytest.param(lambda bucket, _: list(bucket.list()), id="list"),
        pytest.param(lambda bucket, _: list(bucket.folders("")), id="folders"),
        pytest.param(lambda bucket, _: bucket.delete("a"), id="delete"),
    ],
)


@pytest.fixture
def any_file(tmp_path: Path) -> Path:
    path = tmp_path / "any"
    path.write_bytes(b"as it was")
    return path


@EVERY_STEP
def test_a_wrong_bucket_name_is_a_sentence(
    server: ObjectServer, monkeypatch: pytest.MonkeyPatch, any_file: Path, step: Step
) -> None:
    lead(monkeypatch, server)
    with pytest.raises(
        BucketError, match=rf"in {server.scheme}://no-such-bucket/p: there is no bucket no-such-bucket\."
    ):
        step(bucket_of(server, "no-such-bucket", "p"), any_file)
    assert any_file.read_bytes() == b"as it was"


@EVERY_STEP
def test_a_wrong_secret_is_a_sentence(
    server: ObjectServer, monkeypatch: pytest.MonkeyPatch, any_file: Path, step: Step
) -> None:
    lead(monkeypatch, server)
    if server.scheme == "s3":
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another")
    else:
        right = server.environment()["AZURE_STORAGE_CONNECTION_STRING"]
        monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", right.replace("AccountKey=Eby8", "AccountKey=AAAA"))
    with pytest.raises(BucketError, match=r"(no permission|the credentials were refused) \(403.*\)\."):
        step(bucket_of(server, server.new_bucket()), any_file)


@EVERY_STEP
@pytest.mark.parametrize("kind", ["closed", "silent", "503"])
def test_an_endpoint_that_does_not_serve_is_given_up_at_the_deadline(
    server: ObjectServer, monkeypatch: pytest.MonkeyPatch, any_file: Path, step: Step, kind: str
) -> None:
    with running_refuser(None if kind == "silent" else 503) as refuser:
        url = f"http://127.0.0.1:{free_port()}" if kind == "closed" else refuser.url
        lead(monkeypatch, server, url)
        bucket = bucket_of(server, "some-bucket", deadline_s=0.2, timeout_s=0.1)
        started = time.monotonic()
        with pytest.raises(BucketError, match=rf"{url}\S* kept failing for 0.2 s .*_ENDPOINT.*, then"):
            step(bucket, any_file)
        assert time.monotonic() - started < 5


# ---- certificates and proxies -------------------------------------------------------------------
def test_a_private_certificate_is_trusted_if_the_bundle_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    authority = Authority(tmp_path)
    with running_s3(files=authority.issue("server", "127.0.0.1")) as server:
        lead(monkeypatch, server)
        name = server.new_bucket()
        bucket = bucket_of(server, name, deadline_s=20)
        started = time.monotonic()
        with pytest.raises(BucketError, match=r"is not trusted \(its certificate is invalid.*Set AWS_CA_BUNDLE"):
            bucket.read("a")
        assert time.monotonic() - started < 10
        variables = ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE")
        for variable in variables:
            with monkeypatch.context() as patch:
                for other in variables:
                    patch.delenv(other, raising=False)
                patch.setenv(variable, str(authority.certificate))
                bucket = bucket_of(server, name)
                bucket.write("a", variable.encode())
                assert bucket.read("a") == variable.encode()


def test_a_bundle_that_cannot_be_read_is_a_sentence(
    server: ObjectServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    lead(monkeypatch, server)
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "missing.pem"))
    with pytest.raises(UsageError, match=r"SSL_CERT_FILE names .*missing\.pem, which cannot be read"):
        bucket_of(server, "some-bucket")


@pytest.mark.parametrize("scheme", ["s3", "az"])
def test_the_cloud_is_reached_through_the_proxy(monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    keys = {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s", "AWS_REGION": "eu-west-3"}
    account = {"AZURE_STORAGE_ACCOUNT_NAME": "mine", "AZURE_STORAGE_ACCOUNT_KEY": "AAAA"}
    with running_noting_proxy() as proxy:
        for variable, value in {**through(proxy.url), **keys, **account}.items():
            monkeypatch.setenv(variable, value)
        service = S3Service("some-bucket") if scheme == "s3" else AzureService("some-bucket")
        with pytest.raises(BucketError):
            ObjectStoreBucket(service, deadline_s=0.2).read("a")
    host = "s3.eu-west-3.amazonaws.com" if scheme == "s3" else "mine.blob.core.windows.net"
    assert set(proxy.hosts) == {f"{host}:443"}


# ---- what else may be in a bucket ---------------------------------------------------------------
def test_more_objects_than_a_page_has_are_listed(server: ObjectServer, monkeypatch: pytest.MonkeyPatch) -> None:
    lead(monkeypatch, server)
    bucket = bucket_of(server, server.new_bucket(), "many")
    names = [f"folder-{number % 3}/{number:05d}" for number in range(MANY)]
    for name in names:
        bucket.write(name, b"1")
    assert list(bucket.list()) == sorted(names)
    assert list(bucket.folders("")) == ["folder-0", "folder-1", "folder-2"]
    assert bucket.size_bytes("") == MANY


def test_only_what_lies_below_the_prefix_is_the_buckets(server: ObjectServer, monkeypatch: pytest.MonkeyPatch) -> None:
    lead(monkeypatch, server)
    parent = f"{server.scheme}://{server.new_bucket()}/a b"
    open_bucket(f"{parent}/last-too").write("a", b"")
    open_bucket(f"{parent}/last").write("b", b"")
    assert list(open_bucket(f"{parent}/last").list()) == ["b"]
    assert list(open_bucket(f"{parent}/last/").list()) == ["b"]
    assert list(open_bucket(parent).list()) == ["last-too/a", "last/b"]
