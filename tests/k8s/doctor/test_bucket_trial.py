"""What `doctor` finds out about a bucket of any kind."""

import socket
from pathlib import Path

import pytest

from k8s.doctor.bucket_trial import try_bucket
from k8s.doctor.findings import Severity
from k8s.doctor.local_checks import check_bucket
from tests.support.gcs_emulator import Emulator
from tests.support.object_servers import S3Server
from tuner.bucket import Bucket, open_bucket
from tuner.bucket.local import LocalBucket


@pytest.fixture(params=["folder", "emulator", "s3_server", "azure_server"])
def bucket(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    if request.param == "folder":
        return open_bucket(str(tmp_path))
    server = request.getfixturevalue(request.param)
    if isinstance(server, Emulator):
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.url)
        return open_bucket(f"gs://{server.new_bucket()}/prefix")
    for variable, value in server.environment().items():
        monkeypatch.setenv(variable, value)
    return open_bucket(f"{server.scheme}://{server.new_bucket()}/prefix")


def test_rights_conditional_writes_and_latency_are_found_and_nothing_stays(bucket: Bucket) -> None:
    finding = try_bucket(bucket)
    assert finding.severity is Severity.FINE
    assert f"{bucket.url} creates, reads, lists and deletes objects, and refuses to create one twice" in finding.what
    assert "a read takes" in finding.what
    assert list(bucket.list()) == []


class WithoutConditions(LocalBucket):
    """A folder that creates an object although it exists, as a server without conditional writes does."""

    def create(self, name: str, data: bytes) -> None:
        self.write(name, data)


class Forgetful(LocalBucket):
    """A folder that lists nothing."""

    def list(self, prefix: str = "") -> "list[str]":  # type: ignore[override]
        return []


class Keeping(LocalBucket):
    """A folder without the right to delete."""

    def delete(self, name: str) -> None:
        del name


@pytest.mark.parametrize(
    ("kind", "what"),
    [
        (WithoutConditions, "creates an object although it exists (it ignores conditional writes)"),
        (Forgetful, "does not list 3 of 3 objects that it contains"),
        (Keeping, "still has an object that was deleted"),
    ],
)
def test_a_bucket_that_lacks_what_a_study_needs_is_broken(tmp_path: Path, kind: type[LocalBucket], what: str) -> None:
    finding = try_bucket(kind(tmp_path))
    assert (finding.severity, what in finding.what) == (Severity.BROKEN, True), finding


def test_a_server_of_s3_is_tried_with_its_clock(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable, value in s3_server.environment().items():
        monkeypatch.setenv(variable, value)
    findings = list(check_bucket(f"s3://{s3_server.new_bucket()}", "this machine"))
    assert {finding.check: finding.severity for finding in findings} == {"clock": "fine", "bucket": "fine"}


def test_a_server_of_s3_that_nobody_answers_at_is_found_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        endpoint = f"http://127.0.0.1:{unused.getsockname()[1]}"
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    (finding,) = check_bucket("s3://runs", "this machine")
    assert finding.severity is Severity.BROKEN
    assert f"s3://runs cannot be reached: {endpoint} refuses the connection" in finding.what


def test_a_container_whose_account_is_not_named_is_broken() -> None:
    (finding,) = check_bucket("az://runs", "this machine")
    assert finding.severity is Severity.BROKEN
    assert "Set AZURE_STORAGE_ACCOUNT_NAME" in finding.what
