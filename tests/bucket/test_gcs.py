"""What is special about a bucket over a network: lost answers, refusals, silence. Real sockets throughout."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.fault_proxy import Fault, FaultProxy, Faults, running_proxy
from tests.support.gcs_emulator import Emulator, free_port
from tests.support.proxies import DEAD, running_noting_proxy, through
from tests.support.refuser import running_refuser
from tuner.bucket import open_bucket
from tuner.bucket.gcs import GcsBucket, connect
from tuner.errors import BucketError, ObjectExistsError

WRITING = frozenset({"POST", "PUT", "DELETE"})


@pytest.fixture
def proxy(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultProxy]:
    """A network to the emulator whose faults are scripted; only what writes meets them."""
    with running_proxy(emulator.url, Faults(stall_s=20)) as running:
        running.scripted_methods = WRITING
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", running.url)
        yield running


@pytest.fixture
def far_bucket(emulator: Emulator, proxy: FaultProxy) -> GcsBucket:
    return GcsBucket(connect(), emulator.new_bucket(), "p", deadline_s=20, timeout_s=0.5)


# ---- a bad network ------------------------------------------------------------------------------
def test_a_create_whose_answer_was_lost_succeeds(proxy: FaultProxy, far_bucket: GcsBucket) -> None:
    proxy.script.append(Fault.CUT_AFTER)
    far_bucket.create("journal/1", b"from writer 6f1b")
    assert far_bucket.read("journal/1") == b"from writer 6f1b"
    assert proxy.met[Fault.CUT_AFTER] == 1


def test_a_create_whose_answer_was_lost_does_not_take_anothers_object_for_its_own(
    proxy: FaultProxy, far_bucket: GcsBucket
) -> None:
    far_bucket.create("journal/1", b"from writer 77aa")
    proxy.script.append(Fault.CUT_AFTER)
    with pytest.raises(ObjectExistsError, match="journal/1"):
        far_bucket.create("journal/1", b"from writer 6f1b")
    assert far_bucket.read("journal/1") == b"from writer 77aa"


PASSING = [fault for fault in Fault if fault not in (Fault.NONE, Fault.DAMAGED, Fault.FULL)]
"""Faults after which the same request succeeds."""


@pytest.mark.parametrize("fault", PASSING)
def test_every_fault_is_survived_by_everything_that_writes(
    proxy: FaultProxy, far_bucket: GcsBucket, make_file: Callable[[str, int], Path], tmp_path: Path, fault: Fault
) -> None:
    source = make_file("pieces", 9 << 20)
    for step in (
        lambda: far_bucket.write("a", b"1"),
        lambda: far_bucket.create("b", b"2"),
        lambda: far_bucket.upload("c", source),
        lambda: far_bucket.delete("a"),
    ):
        proxy.script.append(fault)
        step()
        assert not proxy.script
    assert proxy.met[fault] == 4
    assert list(far_bucket.list()) == ["b", "c"]
    far_bucket.download("c", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == source.read_bytes()


@pytest.mark.parametrize("fault", PASSING)
def test_every_fault_is_survived_by_everything_that_reads(
    proxy: FaultProxy, far_bucket: GcsBucket, tmp_path: Path, fault: Fault
) -> None:
    proxy.scripted_methods = frozenset({"GET"})
    far_bucket.write("a", b"1")
    for step in (
        lambda: far_bucket.read("a"),
        lambda: far_bucket.exists("a"),
        lambda: far_bucket.download("a", tmp_path / "copy"),
        lambda: list(far_bucket.list()),
    ):
        proxy.script.append(fault)
        assert step() != []
        assert not proxy.script


def test_a_full_bucket_is_an_error_and_keeps_nothing(proxy: FaultProxy, far_bucket: GcsBucket) -> None:
    proxy.script.append(Fault.FULL)
    with pytest.raises(BucketError, match=r"Cannot write a in gs://.* 507 "):
        far_bucket.write("a", b"1")
    assert not proxy.script
    assert list(far_bucket.list()) == []


@pytest.mark.parametrize("number", [0, 1, 3])
def test_an_answer_lost_at_any_piece_of_an_upload_leaves_it_whole(
    proxy: FaultProxy, far_bucket: GcsBucket, make_file: Callable[[str, int], Path], tmp_path: Path, number: int
) -> None:
    source = make_file("pieces", 17 << 20)
    proxy.script.extend([Fault.NONE] * number + [Fault.CUT_AFTER])
    far_bucket.upload("c", source)
    assert not proxy.script
    far_bucket.download("c", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == source.read_bytes()


def test_a_journal_written_through_a_bad_network_has_every_record_once(emulator: Emulator) -> None:
    """A tenth of the requests gets a 503, others a 429, a cut connection, or an answer that is lost."""
    faults = Faults(seed=7, unavailable=0.1, too_many=0.03, cut_before=0.03, cut_after=0.05)
    name = emulator.new_bucket()
    with running_proxy(emulator.url, faults) as bad, pytest.MonkeyPatch.context() as patch:
        patch.setenv("STORAGE_EMULATOR_HOST", bad.url)
        bucket = GcsBucket(connect(), name)
        for number in range(25):
            bucket.create(f"journal/{number:03d}", f"writer 6f1b, record {number}".encode())
        assert bad.met[Fault.CUT_AFTER] > 0
        assert bad.met[Fault.UNAVAILABLE] > 0
        names = list(bucket.list("journal/"))
        assert names == [f"journal/{number:03d}" for number in range(25)]
        for number, record in enumerate(names):
            assert bucket.read(record) == f"writer 6f1b, record {number}".encode()


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
