"""Attempts as the journal tells them, also to a reader that begins in the middle of one."""

from pathlib import Path

from tuner import names
from tuner.bucket.local import LocalBucket
from tuner.config.loading import load
from tuner.names import TrialId
from tuner.study import snapshots
from tuner.study.attempt_logs import Follower
from tuner.study.journal import JournalReader, encode
from tuner.study.records import AttemptEnded, Created, Leased, Opened, Outcome, Record

STUDY, TRIAL = "night", TrialId("00000")


def write(bucket: LocalBucket, number: int, *records: Record) -> None:
    bucket.create(names.journal_segment(STUDY, number), encode(number, "writer", records))


def test_a_log_is_followed_though_a_snapshot_hides_when_its_attempt_began(tmp_path: Path) -> None:
    bucket, study = LocalBucket(tmp_path), load(settings=[f"name={STUDY}"])
    opened = Opened(at=0, term=1, writer="writer", study=study, data="ab" * 32, direction="max")
    write(bucket, 1, opened, Created(at=0, trial=TRIAL, hyperparameters={}, algorithm={}))
    follower = Follower(bucket, STUDY, "0")
    write(bucket, 2, Leased(at=1, trial=TRIAL, attempt=1, worker="w", incarnation="1"))
    reader = JournalReader(bucket, STUDY)
    reader.poll()
    bucket.create(names.snapshot(STUDY, 2), snapshots.encode(2, reader.state))
    write(bucket, 3, AttemptEnded(at=2, trial=TRIAL, attempt=1, outcome=Outcome.LOST, reason="silent"))
    assert follower.attempts() == []
    write(bucket, 4, Leased(at=3, trial=TRIAL, attempt=2, worker="w", incarnation="2"))
    assert [attempt.attempt for attempt in follower.attempts()] == [2]
