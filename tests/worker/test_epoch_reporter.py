"""Uploads and reports while training continues: in order, durable first, and none from a fenced attempt."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.chief import RunningChief
from tests.worker.conftest import nothing
from tuner import names
from tuner.bucket.local import LocalBucket
from tuner.errors import BucketError, ChiefUnreachableError
from tuner.study.journal import read_records
from tuner.study.records import Reported, TrialState
from tuner.training.checkpoint import sha256
from tuner.worker.call_errors import FencedAttemptError
from tuner.worker.chief_client import ChiefClient, Grant
from tuner.worker.epoch_reporter import Epoch, EpochReporter, IoThreads, StoppedTrialError
from tuner.worker.patience import Patience


class GatedBucket(LocalBucket):
    """A bucket whose uploads wait at a gate, or fail."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.gate = threading.Event()
        self.gate.set()
        self.full = False

    def upload(self, name: str, path: Path) -> None:
        assert self.gate.wait(30)
        if self.full:
            raise BucketError("no space is left there")
        super().upload(name, path)


@pytest.fixture
def bucket(tmp_path: Path) -> GatedBucket:
    return GatedBucket(tmp_path / "bucket")


@pytest.fixture
def io_threads() -> Iterator[IoThreads]:
    with IoThreads() as threads:
        yield threads


@pytest.fixture
def taken() -> list[int]:
    return []


@pytest.fixture
def reporter(
    bucket: GatedBucket, client: ChiefClient, grant: Grant, io_threads: IoThreads, taken: list[int]
) -> Iterator[EpochReporter]:
    new_reporter = EpochReporter(bucket, client, grant, io_threads, lambda epoch: taken.append(epoch.number))
    yield new_reporter
    new_reporter.abandon()
    bucket.gate.set()


def upload(reporter: EpochReporter, grant: Grant, folder: Path, number: int) -> Epoch:
    file = folder / f"{number}.keras"
    file.write_bytes(b"model %d" % number)
    epoch = Epoch(number, {"val_accuracy": number / 8}, names.checkpoint("cifake", grant.trial_id, 1, number))
    reporter.upload(epoch, file)
    return epoch


def reported(bucket: LocalBucket) -> list[Reported]:
    return [record for record in read_records(bucket, "cifake") if isinstance(record, Reported)]


def test_an_epoch_is_reported_when_its_checkpoint_is_durable_and_not_before(
    reporter: EpochReporter, grant: Grant, bucket: GatedBucket, chief: RunningChief, tmp_path: Path
) -> None:
    bucket.gate.clear()
    epoch = upload(reporter, grant, tmp_path, 0)
    with pytest.raises(TimeoutError):
        reporter.await_upload(timeout)
    assert reported(bucket) == []
    bucket.gate.set()
    reporter.await_upload(nothing)
    assert epoch.checkpoint is not None
    assert bucket.read(epoch.checkpoint) == b"model 0"
    reporter.settle(nothing)
    [record] = reported(bucket)
    (tmp_path / "again").write_bytes(b"model 0")
    assert (record.checkpoint, record.sha256) == (epoch.checkpoint, sha256(tmp_path / "again"))


def timeout() -> None:
    raise TimeoutError


def test_local_files_do_not_pile_up(reporter: EpochReporter, grant: Grant, tmp_path: Path) -> None:
    for number in range(3):
        upload(reporter, grant, tmp_path, number)
    reporter.settle(nothing)
    assert list(tmp_path.glob("*.keras")) == []


def test_while_the_chief_is_away_checkpoints_arrive_and_reports_follow_in_order(
    reporter: EpochReporter, grant: Grant, bucket: GatedBucket, chief: RunningChief, tmp_path: Path, taken: list[int]
) -> None:
    upload(reporter, grant, tmp_path, 0)
    reporter.settle(nothing)
    chief.stop()
    for number in range(1, 4):
        epoch = upload(reporter, grant, tmp_path, number)
        reporter.await_upload(nothing)
        assert epoch.checkpoint is not None
        assert bucket.exists(epoch.checkpoint)
    assert taken == [0]
    chief.start()
    reporter.settle(nothing)
    assert [record.epoch for record in reported(bucket)] == taken == [0, 1, 2, 3]


def test_a_chief_that_stays_away_is_given_up_after_the_configured_time(
    reporter: EpochReporter, grant: Grant, chief: RunningChief, client: ChiefClient, tmp_path: Path
) -> None:
    client.timeout_s = 0.5
    chief.stop()
    upload(reporter, grant, tmp_path, 0)
    with pytest.raises(ChiefUnreachableError, match=r"did not answer for 0\.5 s"):
        reporter.settle(nothing)


def test_one_call_that_took_longer_than_the_configured_time_is_made_again(
    grant: Grant, client: ChiefClient, chief: RunningChief, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker process that was suspended during a call sees the same."""
    monkeypatch.setattr("tuner.worker.chief_client.CALL_TIMEOUT_S", 2.0)
    client.timeout_s = 1.5
    chief.stand_still(2.5)
    assert not client.report(grant, 0, {"val_accuracy": 0.5}, None, None, threading.Event())
    assert chief.ask(lambda state: [list(trial.epochs) for trial in state.trials.values()]) == [[0]]


def test_heartbeats_that_fail_for_the_configured_time_end_it_too_and_one_that_does_not_forgives(
    chief: RunningChief, client: ChiefClient
) -> None:
    from tuner.rpc.lease_service import Heartbeat

    beat = Heartbeat(worker=client.worker, incarnation=client.incarnation)
    chief.stop()
    assert client.heartbeat(beat) is None
    client.check()
    client.timeout_s = 0.0
    with pytest.raises(ChiefUnreachableError):
        client.check()
    chief.start()
    client.timeout_s = 30.0
    while client.heartbeat(beat) is None:
        pass
    client.timeout_s = 0.0
    client.check()


def test_a_fenced_attempt_uploads_and_reports_nothing_more(
    reporter: EpochReporter, grant: Grant, bucket: GatedBucket, chief: RunningChief, tmp_path: Path
) -> None:
    chief.expire()
    upload(reporter, grant, tmp_path, 0)
    with pytest.raises(FencedAttemptError):
        reporter.settle(nothing)
    second = upload(reporter, grant, tmp_path, 1)
    with pytest.raises(FencedAttemptError):
        reporter.settle(nothing)
    assert second.checkpoint is not None
    assert not bucket.exists(second.checkpoint)
    assert reported(bucket) == []


def test_a_trial_that_the_chief_has_ended_is_dropped_at_the_next_report(
    reporter: EpochReporter, grant: Grant, client: ChiefClient, chief: RunningChief, tmp_path: Path
) -> None:
    upload(reporter, grant, tmp_path, 0)
    reporter.settle(nothing)
    client.complete(grant)
    upload(reporter, grant, tmp_path, 1)
    with pytest.raises(StoppedTrialError):
        reporter.settle(nothing)
    assert chief.ask(lambda state: [trial.state for trial in state.trials.values()]) == [TrialState.COMPLETED]


def test_a_bucket_that_fails_is_told_to_the_training(
    reporter: EpochReporter, grant: Grant, bucket: GatedBucket, tmp_path: Path
) -> None:
    bucket.full = True
    upload(reporter, grant, tmp_path, 0)
    with pytest.raises(BucketError, match="no space"):
        reporter.settle(nothing)
    with pytest.raises(BucketError, match="no space"):
        reporter.check()
    assert reported(bucket) == []


def test_objects_are_deleted_after_what_was_to_be_uploaded(
    reporter: EpochReporter, grant: Grant, bucket: GatedBucket, tmp_path: Path
) -> None:
    bucket.gate.clear()
    epoch = upload(reporter, grant, tmp_path, 0)
    reporter.delete([epoch.checkpoint or ""])
    bucket.gate.set()
    upload(reporter, grant, tmp_path, 1)
    reporter.settle(nothing)
    assert list(bucket.list(names.trials_prefix("cifake"))) == [names.checkpoint("cifake", grant.trial_id, 1, 1)]


def test_an_upload_into_a_full_bucket_is_repeated_and_its_epoch_is_kept(
    bucket: GatedBucket, client: ChiefClient, grant: Grant, io_threads: IoThreads, tmp_path: Path
) -> None:
    problems: list[str] = []
    failed = threading.Event()

    def show(problem: str) -> None:
        problems.append(problem)
        failed.set()

    patience = Patience(60, show)
    reporter = EpochReporter(bucket, client, grant, io_threads, lambda epoch: None, patience)
    bucket.full = True
    epoch = upload(reporter, grant, tmp_path, 0)
    assert failed.wait(30)
    assert (tmp_path / "0.keras").exists()
    assert reported(bucket) == []
    bucket.full = False
    reporter.settle(nothing)
    assert [record.checkpoint for record in reported(bucket)] == [epoch.checkpoint]
    assert (problems[0], problems[-1]) == ("no space is left there", "")
    assert not (tmp_path / "0.keras").exists()


def test_an_attempt_that_is_abandoned_does_not_wait_for_the_bucket(
    bucket: GatedBucket, client: ChiefClient, grant: Grant, io_threads: IoThreads, tmp_path: Path
) -> None:
    failed = threading.Event()
    reporter = EpochReporter(
        bucket, client, grant, io_threads, lambda epoch: None, Patience(3600, lambda problem: failed.set())
    )
    bucket.full = True
    upload(reporter, grant, tmp_path, 0)
    assert failed.wait(30)
    reporter.abandon()
    with pytest.raises(BucketError, match="no space is left there"):
        reporter.settle(nothing)
