"""Deleting a study: what is refused, what goes, what stays, and in which order."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.housekeeping.searches import Trained, write_search
from tuner import names
from tuner.bucket.local import LocalBucket
from tuner.errors import BucketError, UsageError
from tuner.housekeeping.deletion import LONG_SILENT_S, QUIET_S, delete_study, require_no_chief
from tuner.study import journal
from tuner.study.journal import read_study
from tuner.study.records import Served

DATA = "a" * 64


@pytest.fixture
def bucket(tmp_path: Path) -> LocalBucket:
    return LocalBucket(tmp_path / "bucket")


class Clock:
    """A clock that only sleeping moves. `chief` is what a chief does meanwhile."""

    def __init__(self, now: float, chief: Callable[[], None] = lambda: None) -> None:
        self.now, self.slept, self._chief = now, 0.0, chief

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.slept += seconds
        self._chief()


def test_a_study_that_was_silent_for_long_needs_no_waiting(bucket: LocalBucket) -> None:
    write_search(bucket, "night", [Trained(1, 0.5)], finished=False, ended_at=1000)
    clock = Clock(1000 + LONG_SILENT_S + 1)
    require_no_chief(bucket, "night", clock, clock.sleep)
    assert clock.slept == 0


@pytest.mark.parametrize("ahead_s", [1, 3600, -3600], ids="this clock {}".format)
def test_a_study_is_watched_whatever_the_difference_of_the_clocks(bucket: LocalBucket, ahead_s: float) -> None:
    write_search(bucket, "night", [Trained(1, 0.5)], finished=False, ended_at=10_000)
    clock = Clock(10_000 + ahead_s)
    require_no_chief(bucket, "night", clock, clock.sleep)
    assert clock.slept >= QUIET_S


def test_a_study_whose_chief_writes_meanwhile_is_refused(bucket: LocalBucket) -> None:
    write_search(bucket, "night", [Trained(1, 0.5)], finished=False, ended_at=1000)

    def write() -> None:
        if 30 <= clock.slept < 32:
            bucket.create(names.journal_segment("night", 2), journal.encode(2, "w", [Served(at=1031, served_s=3700)]))

    clock = Clock(1001, write)
    with pytest.raises(UsageError, match=r"a chief is serving study 'night'.*Stop the study first"):
        require_no_chief(bucket, "night", clock, clock.sleep)
    assert clock.slept < QUIET_S


@pytest.mark.parametrize("is_evaluated", [True, False])
def test_a_finished_study_whose_evaluation_may_be_running_is_refused(bucket: LocalBucket, is_evaluated: bool) -> None:
    write_search(bucket, "night", [Trained(1, 0.5)], ended_at=1000)
    clock = Clock(1000 + 600)
    if is_evaluated:
        bucket.write(names.evaluation("night", names.METRICS_JSON), b"{}")
    else:
        with pytest.raises(UsageError, match="so the evaluation may be running"):
            require_no_chief(bucket, "night", clock, clock.sleep)
        clock.now += 3600
    require_no_chief(bucket, "night", clock, clock.sleep)
    assert clock.slept == 0


def test_a_damaged_study_can_be_deleted_too(bucket: LocalBucket) -> None:
    write_search(bucket, "night", [Trained(1, 0.5)], finished=False, ended_at=time.time())
    bucket.write(names.journal_segment("night", 1), b"damaged")
    clock = Clock(1001)
    require_no_chief(bucket, "night", clock, clock.sleep)
    assert clock.slept >= QUIET_S
    delete_study(bucket, "night")
    assert list(bucket.list()) == []


def test_everything_of_the_study_goes_and_everything_else_stays(bucket: LocalBucket) -> None:
    write_search(bucket, "night", [Trained(1, 0.5)], data=DATA)
    write_search(bucket, "night-2", [Trained(1, 0.5)], data=DATA)
    for name in (names.manifest(DATA), names.shard(DATA, "train", 0), names.prepared("night-2")):
        bucket.write(name, b"shared")
    kept = set(bucket.list()) - set(bucket.list(names.study_prefix("night")))
    bucket.write(names.prepared("night"), b"note")
    bucket.write(names.attempt_log("night", "00000", 1, 0), b"log")
    done: list[int] = []
    assert delete_study(bucket, "night", done.append) == 3
    assert done == [1, 2, 3]
    assert set(bucket.list()) == kept


class FailingBucket(LocalBucket):
    """A bucket that fails after some deletions."""

    left = 0

    def delete(self, name: str) -> None:
        if not self.left:
            raise BucketError("the bucket has failed")
        self.left -= 1
        super().delete(name)


@pytest.mark.parametrize("deleted", range(5))
def test_what_an_interrupted_deletion_leaves_can_be_read_and_deleted(bucket: LocalBucket, deleted: int) -> None:
    write_search(bucket, "night", [Trained(1, 0.5)], finished=False)
    for number in (2, 3, 4):
        record = Served(at=2e6 + number, served_s=4000 + number)
        bucket.create(names.journal_segment("night", number), journal.encode(number, "w", [record]))
    failing = FailingBucket(bucket._root)
    failing.left = deleted
    with pytest.raises(BucketError, match="the bucket has failed"):
        delete_study(failing, "night")
    assert read_study(bucket, "night").trials
    delete_study(bucket, "night")
    assert list(bucket.list()) == []
