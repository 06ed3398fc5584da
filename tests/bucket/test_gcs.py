"""What is special about a bucket of Google Cloud Storage: damaged answers, refusals, silence. Real sockets."""

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.fault_proxy import Fault, FaultProxy
from tests.support.gcs_emulator import Emulator, free_port
from tests.support.proxies import DEAD, running_noting_proxy, through
from tests.support.refuser import running_refuser
from tuner.bucket import open_bucket
from tuner.bucket.gcs import GcsBucket, connect
from tuner.errors import BucketError


@pytest.fixture
def server(emulator: Emulator) -> Emulator:
    return emulator


# ---- a bad network ------------------------------------------------------------------------------
def test_a_full_bucket_is_an_error_and_keeps_nothing(proxy: FaultProxy, far_bucket: GcsBucket) -> None:
    proxy.script.append(Fault.FULL)
    with pytest.raises(BucketError, match=r"Cannot write a in gs://.* 507 "):
        far_bucket.write("a", b"1")
    assert not proxy.script
    assert list(far_bucket.list()) == []


def test_a_damaged_answer_is_not_taken_for_the_object(proxy: FaultProxy, far_bucket: GcsBucket, tmp_path: Path) -> None:
    proxy.scripted_methods = frozenset({"GET"})
    far_bucket.write("a", b"0123456789")
    proxy.script.append(Fault.DAMAGED)
    with pytest.raises(BucketError, match="Cannot read a in gs://"):
        far_bucket.read("a")
    proxy.script.extend([Fault.NONE, Fault.DAMAGED])  # the first one asks for the checksum
    with pytest.raises(BucketError, match=r"a in gs://.* arrived damaged"):
        far_bucket.download("a", tmp_path / "copy")
    assert list(tmp_path.iterdir()) == []


# ---- refusals and silence -----------------------------------------------------------------------
Step = Callable[[GcsBucket, Path], object]
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
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch, any_file: Path, step: Step
) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", emulator.url)
    with pytest.raises(BucketError, match=r"in gs://no-such-bucket/p: there is no bucket no-such-bucket\. Check"):
        step(GcsBucket(connect(), "no-such-bucket", "p"), any_file)
    assert any_file.read_bytes() == b"as it was"


@EVERY_STEP
@pytest.mark.parametrize(
    ("status", "sentence"),
    [
        (
            403,
            r"no permission \(403 .*\)\. Give this account the role roles/storage.objectUser on the bucket some-bucket",
        ),
        (401, "credentials (were refused|do not work) .*Workload Identity"),
        (400, "400 .*because of this"),
    ],
)
def test_a_refusal_is_a_sentence_at_once(
    monkeypatch: pytest.MonkeyPatch, any_file: Path, step: Step, status: int, sentence: str
) -> None:
    with running_refuser(status) as refuser:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", refuser.url)
        with pytest.raises(BucketError, match=sentence):
            step(GcsBucket(connect(), "some-bucket"), any_file)
        assert refuser.requests == 1


@EVERY_STEP
@pytest.mark.parametrize("kind", ["closed", "silent", "503"])
def test_an_endpoint_that_does_not_serve_is_given_up_at_the_deadline(
    monkeypatch: pytest.MonkeyPatch, any_file: Path, step: Step, kind: str
) -> None:
    with running_refuser(None if kind == "silent" else 503) as refuser:
        url = f"http://127.0.0.1:{free_port()}" if kind == "closed" else refuser.url
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", url)
        bucket = GcsBucket(connect(), "some-bucket", deadline_s=0.2, timeout_s=0.1)
        started = time.monotonic()
        with pytest.raises(BucketError, match=f"{url} kept failing for 0.2 s .* STORAGE_EMULATOR_HOST, then"):
            step(bucket, any_file)
        assert time.monotonic() - started < 5


def test_no_credentials_are_a_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for variable in ("STORAGE_EMULATOR_HOST", "GOOGLE_APPLICATION_CREDENTIALS"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    monkeypatch.setenv("NO_GCE_CHECK", "true")  # else it looks for the metadata server of a virtual machine
    with pytest.raises(BucketError, match=r"No credentials for Google Cloud Storage.*gcloud auth application-default"):
        open_bucket("gs://some-bucket")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "key.json"))
    with pytest.raises(BucketError, match=r"key\.json was not found"):
        open_bucket("gs://some-bucket")


# ---- proxies ------------------------------------------------------------------------------------
@pytest.mark.parametrize("scheme", ["http://", ""])
def test_an_emulator_is_reached_without_the_proxy(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch, any_file: Path, scheme: str
) -> None:
    name = emulator.new_bucket()
    for variable, value in through(DEAD).items():
        monkeypatch.setenv(variable, value)
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", scheme + emulator.url.removeprefix("http://"))
    bucket = GcsBucket(connect(), name, deadline_s=5.0)
    bucket.create("a", b"1")
    bucket.upload("b", any_file)
    assert bucket.read("a") == b"1"
    assert list(bucket.list()) == ["a", "b"]


def test_googles_own_service_is_reached_through_the_proxy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    key = tmp_path / "key.json"
    user = {"type": "authorized_user", "client_id": "i", "client_secret": "s", "refresh_token": "t"}
    key.write_text(json.dumps(user))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(key))
    monkeypatch.delenv("STORAGE_EMULATOR_HOST", raising=False)
    with running_noting_proxy() as proxy:
        for variable, value in through(proxy.url).items():
            monkeypatch.setenv(variable, value)
        with pytest.raises(BucketError):
            GcsBucket(connect(), "some-bucket", deadline_s=0.2).read("a")
    assert set(proxy.hosts) == {"oauth2.googleapis.com:443"}  # the request for a token comes first


# ---- what else may be in a bucket ---------------------------------------------------------------
def test_an_emulator_given_without_a_scheme_is_found(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", emulator.url.removeprefix("http://"))
    bucket = open_bucket(f"gs://{emulator.new_bucket()}")
    bucket.write("a", b"1")
    assert bucket.read("a") == b"1"


def test_only_what_lies_below_the_prefix_is_the_buckets(gcs_url: str) -> None:
    parent, _, last = gcs_url.rpartition("/")
    open_bucket(f"{parent}/{last}-too").write("a", b"")
    open_bucket(gcs_url).write("b", b"")
    assert list(open_bucket(gcs_url).list()) == ["b"]
    assert list(open_bucket(f"{gcs_url}/").list()) == ["b"]
    assert list(open_bucket(parent).list()) == [f"{last}-too/a", f"{last}/b"]


def test_the_folders_that_the_console_makes_are_no_objects(gcs_url: str) -> None:
    bucket_name, prefix = gcs_url.removeprefix("gs://").split("/", 1)
    for folder in ("", "folder/"):
        connect().bucket(bucket_name).blob(f"{prefix}/{folder}").upload_from_string(b"")
    bucket = open_bucket(gcs_url)
    bucket.write("folder/a", b"")
    assert list(bucket.list()) == ["folder/a"]
