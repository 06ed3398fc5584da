"""What `doctor` finds out about a bucket of any kind."""

from pathlib import Path

import pytest

from k8s.doctor.bucket_trial import try_bucket
from k8s.doctor.findings import Severity
from tests.support.gcs_emulator import Emulator
from tuner.bucket import Bucket, open_bucket
from tuner.bucket.local import LocalBucket


@pytest.fixture(params=["folder", "gs"])
def bucket(
    request: pytest.FixtureRequest, tmp_path: Path, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> Bucket:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", emulator.url)
    return open_bucket(str(tmp_path) if request.param == "folder" else f"gs://{emulator.new_bucket()}/prefix")


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
