"""A worker whose chief has ended for good ends too, and one whose chief is only starting waits."""

import time
from contextlib import closing
from pathlib import Path

import grpc
import pytest

from tuner import names
from tuner.bucket.local import LocalBucket
from tuner.config.loading import load
from tuner.errors import ChiefUnreachableError, UsageError
from tuner.names import ReleaseId
from tuner.study import journal
from tuner.study.chief_end import ChiefEnd, delete_chief_end, write_chief_end
from tuner.study.records import Finished, Opened
from tuner.worker import chief_client as client_module
from tuner.worker.chief_absence import ChiefAbsence
from tuner.worker.chief_client import ChiefClient
from tuner.worker.chief_outage import ChiefOutage

NIGHT = ReleaseId("night", "lab")
SENTENCE = "the chief of the release 'night' in the namespace 'lab' has ended and is not started again"


@pytest.fixture
def bucket(tmp_path: Path) -> LocalBucket:
    return LocalBucket(tmp_path / "bucket")


def end_chief(bucket: LocalBucket, at: float = 1.0, release: ReleaseId = NIGHT) -> None:
    write_chief_end(bucket, "cifake", release, ChiefEnd(at=at, error="data.batch_size was 128, is now 32."))


def test_the_end_of_the_workers_own_chief_counts_at_once(bucket: LocalBucket) -> None:
    end_chief(bucket, release=ReleaseId("day", "lab"))
    absence = ChiefAbsence(bucket, "cifake", NIGHT)
    assert absence.error() is None
    end_chief(bucket)
    error = absence.error()
    assert SENTENCE in str(error)
    assert str(error).endswith("The chief's error: data.batch_size was 128, is now 32.")


def test_the_end_of_an_earlier_chief_does_not_count(bucket: LocalBucket) -> None:
    """The next chief may wait for a node. If a worker ended with a usage error, its Job would fail for good."""
    end_chief(bucket)
    absence = ChiefAbsence(bucket, "cifake", NIGHT)
    assert absence.error() is None
    end_chief(bucket, at=2.0)  # the next chief has ended, too
    assert absence.error()
    delete_chief_end(bucket, "cifake", NIGHT)
    assert absence.error() is None


def record_end(bucket: LocalBucket, failed: bool) -> None:
    opened = Opened(at=0, term=1, writer="w", study=load(settings=["name=cifake"]), data="0" * 64, direction="max")
    finished = Finished(at=1, reason="3 consecutive trials failed; OOM", failed=failed)
    bucket.create(names.journal_segment("cifake", 1), journal.encode(1, "w", [opened, finished]))


@pytest.mark.parametrize("failed", [True, False])
def test_a_worker_without_a_chief_ends_with_advice_only_if_the_search_gave_up(
    bucket: LocalBucket, failed: bool
) -> None:
    """Its replacements would hold a GPU too, and no chief starts before a user changes something."""
    record_end(bucket, failed)
    absence = ChiefAbsence(bucket, "cifake", NIGHT)
    assert absence.error() is None  # a chief may be starting
    with grpc.insecure_channel("127.0.0.1:1") as channel, closing(ChiefOutage("127.0.0.1:1")) as outage:
        client = ChiefClient(channel, "127.0.0.1:1", "w0", "i", lambda: None, outage)
        client.timeout_s, client.chief_error, client.late_error = 1.0, absence.error, absence.late_error
        with pytest.raises(UsageError if failed else ChiefUnreachableError) as caught:
            client.join()
    if failed:
        assert "the search of study cifake gave up, and no chief has continued it, so this worker ends" in str(
            caught.value
        )
        assert str(caught.value).endswith("because 3 consecutive trials failed; OOM")


@pytest.mark.parametrize("note", [b"", b"{}", b'{"format": "9.0", "at": 1, "error": "?"}'])
def test_a_note_that_cannot_be_understood_is_ignored(bucket: LocalBucket, note: bytes) -> None:
    bucket.write("studies/cifake/chiefs/lab/night.json", note)
    assert ChiefAbsence(bucket, "cifake", NIGHT).error() is None


@pytest.mark.parametrize(("is_earlier", "has_ended"), [(False, True), (True, True), (True, False)])
def test_a_worker_that_waits_for_its_chief_looks_for_the_note(
    bucket: LocalBucket, monkeypatch: pytest.MonkeyPatch, is_earlier: bool, has_ended: bool
) -> None:
    monkeypatch.setattr(client_module, "LOOK_UP_S", 0.2)
    if is_earlier:
        end_chief(bucket)
    with grpc.insecure_channel("127.0.0.1:1") as channel, closing(ChiefOutage("127.0.0.1:1")) as outage:
        client = ChiefClient(channel, "127.0.0.1:1", "w0", "i", lambda: None, outage)
        client.timeout_s = 2.0 if is_earlier else 60.0
        client.chief_error = ChiefAbsence(bucket, "cifake", NIGHT).error
        if not is_earlier:
            end_chief(bucket)
        if not has_ended:
            delete_chief_end(bucket, "cifake", NIGHT)
        began = time.monotonic()
        with pytest.raises(UsageError if has_ended and not is_earlier else ChiefUnreachableError):
            client.join()
        assert time.monotonic() - began < 20
