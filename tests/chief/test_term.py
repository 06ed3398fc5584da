"""The newest chief wins, also over one that is still writing."""

from pathlib import Path

import pytest

from tuner import names
from tuner.address import Address
from tuner.bucket import Bucket
from tuner.bucket.local import LocalBucket
from tuner.chief.context import ChiefContext
from tuner.chief.journal_writer import JournalWriter
from tuner.chief.monitor import ChiefMonitor
from tuner.chief.term import open_term
from tuner.config.loading import load
from tuner.config.settings import Study
from tuner.errors import ConfigError, FencedError
from tuner.monitoring.catalogue import Role
from tuner.monitoring.endpoint import Monitor
from tuner.study.journal import JournalReader, read_study
from tuner.study.records import Created, Finished, Record

STUDY = load()


def created(number: int) -> Created:
    return Created(at=0, trial=names.TrialId(f"{number:05d}"), hyperparameters={"units": number}, algorithm={})


class BusyBucket(LocalBucket):
    """A bucket in which an older chief always writes first, while it has something to write."""

    older: JournalWriter
    to_write: tuple[list[Record], ...] = ()

    def create(self, name: str, data: bytes) -> None:
        if self.to_write:
            records, *rest = self.to_write
            self.to_write = tuple(rest)
            self.older.write(records)
        super().create(name, data)


def context(bucket: Bucket, study: Study = STUDY) -> ChiefContext:
    monitor = ChiefMonitor(bucket, study.name, Monitor(Role.CHIEF))
    return ChiefContext(bucket, study, "d", Address("127.0.0.1", 0), None, None, monitor)


@pytest.fixture
def bucket(tmp_path: Path) -> BusyBucket:
    """One with a chief at work."""
    theirs = LocalBucket(tmp_path / "bucket")
    bucket = BusyBucket(tmp_path / "bucket")
    _, older = open_term(JournalReader(theirs, STUDY.name), context(theirs), "max")
    assert older is not None
    bucket.older = older
    return bucket


def take_over(bucket: BusyBucket, study: Study = STUDY) -> JournalWriter | None:
    _, journal = open_term(JournalReader(bucket, study.name), context(bucket, study), "max")
    return journal


def test_a_newer_chief_takes_over_from_one_that_is_writing(bucket: BusyBucket) -> None:
    bucket.to_write = ([created(0)], [created(1)], [created(2)])
    newer = take_over(bucket)
    assert newer is not None
    with pytest.raises(FencedError, match="another chief has taken over"):
        bucket.older.write([created(3)])
    newer.write([created(3)])
    state = read_study(bucket, STUDY.name)
    assert state.term == 2
    assert list(state.trials) == ["00000", "00001", "00002", "00003"]


def test_what_the_older_chief_wrote_meanwhile_is_known_to_the_newer_one(bucket: BusyBucket) -> None:
    reader = JournalReader(bucket, STUDY.name)
    reader.poll()
    bucket.older.write([created(0)])
    bucket.to_write = ([created(1)],)
    recovered, journal = open_term(reader, context(bucket), "max")
    assert journal
    assert list(recovered.state.trials) == ["00000", "00001"]


def test_a_search_that_ends_while_a_newer_chief_starts_stays_over(bucket: BusyBucket) -> None:
    bucket.to_write = ([Finished(at=0, reason="all trials have ended")],)
    assert take_over(bucket) is None
    assert read_study(bucket, STUDY.name).finished
    assert take_over(bucket, load(settings=["search.max_trials=20"])) is not None


def test_a_chief_with_other_settings_does_not_take_over(bucket: BusyBucket) -> None:
    with pytest.raises(ConfigError, match=r"data\.batch_size was 128, is now 64"):
        take_over(bucket, load(settings=["data.batch_size=64"]))
    bucket.older.write([created(0)])
