"""The newest chief wins, also over one that is still writing."""

import logging
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
from tuner.config.settings import Algorithm, Study
from tuner.errors import ConfigError, FencedError
from tuner.monitoring.catalogue import Role
from tuner.monitoring.endpoint import Monitor
from tuner.search.claims import AttemptClaim, Instant
from tuner.search.leases import Worker
from tuner.search.oracle import Oracle
from tuner.study.journal import JournalReader, read_study
from tuner.study.records import Created, Ended, Finished, Leased, Outcome, Record, Reported, TrialState

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


@pytest.mark.parametrize(
    ("begun", "kept"), [([], Algorithm.TPE), (["search.algorithm=random"], Algorithm.RANDOM)], ids=["auto", "random"]
)
def test_every_term_records_the_algorithm_that_the_study_began_with(
    tmp_path: Path, begun: list[str], kept: Algorithm
) -> None:
    bucket = LocalBucket(tmp_path / "bucket")
    for settings in (begun, []):
        study = load(settings=settings)
        assert open_term(JournalReader(bucket, study.name), context(bucket, study), "max")[1] is not None
        assert read_study(bucket, study.name).settings.search.algorithm is kept


def test_a_chief_with_other_settings_does_not_take_over(bucket: BusyBucket) -> None:
    with pytest.raises(ConfigError, match=r"data\.batch_size was 128, is now 64"):
        take_over(bucket, load(settings=["data.batch_size=64"]))
    bucket.older.write([created(0)])


# ---- a study that gave up ------------------------------------------------------------------------------
def failed(number: int, reason: str, refused: bool = False) -> list[Record]:
    trial = names.TrialId(f"{number:05d}")
    return [
        created(number),
        Leased(at=1, trial=trial, attempt=1, worker="a", incarnation="1"),
        Reported(at=2, trial=trial, attempt=1, epoch=0, metrics={"val_accuracy": 0.5}, checkpoint=f"{trial}/1/0"),
        Ended(
            at=3,
            trial=trial,
            attempt=1,
            state=TrialState.FAILED,
            outcome=Outcome.FAILED,
            refused=refused,
            reason=reason,
        ),
    ]


def test_a_study_that_gave_up_and_is_started_again_retries_its_failed_trials(
    bucket: BusyBucket, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    bucket.older.write(
        [*failed(0, "ValueError: 1"), *failed(1, "TooLarge: 8 parameters", True), *failed(2, "KeyError: 2")]
    )
    bucket.older.write([Finished(at=4, reason="3 consecutive trials failed", failed=True)])
    model = names.checkpoint(STUDY.name, "00000", 1, 0)
    bucket.create(model, b"of the model before it was fixed")
    assert take_over(bucket) is not None
    assert not bucket.exists(model)
    assert "the search had given up; its 2 failed trials are tried again" in caplog.text
    state = read_study(bucket, STUDY.name)
    assert [trial.state.value for trial in state.trials.values()] == ["QUEUED", "FAILED", "QUEUED"]
    assert (state.ended, state.ended_before_term, state.finished) == (["00001"], 1, None)
    trial = state.trials[names.TrialId("00000")]
    assert (trial.attempts, trial.outcomes, trial.reason) == (1, {Outcome.FAILED: 1}, "ValueError: 1")  # on record
    assert (trial.epochs, trial.checkpoints, trial.last_epoch) == ({}, {}, None)  # begins again, with the fixed model


def test_a_retried_trial_has_all_its_retries_and_counts_as_any_other(bucket: BusyBucket) -> None:
    bucket.older.write([*failed(0, "ValueError: 1"), Finished(at=4, reason="it failed", failed=True)])
    assert take_over(bucket) is not None
    oracle = Oracle(read_study(bucket, STUDY.name), Instant(10, 10))
    for attempt in (2, 3):
        trial, _ = oracle.grant(Worker("b", "1"), Instant(11, 11))
        assert trial is not None
        assert trial.attempts == attempt
        oracle.give_back(
            AttemptClaim(Worker("b", "1"), trial.trial_id, attempt), Outcome.FAILED, "again", Instant(12, 12)
        )
    assert oracle.state.trials[names.TrialId("00000")].state is TrialState.FAILED
    assert oracle.state.ended == ["00000"]


def test_a_search_that_went_well_retries_nothing(bucket: BusyBucket) -> None:
    bucket.older.write([*failed(0, "ValueError: 1"), Finished(at=4, reason="all trials have ended")])
    assert take_over(bucket, load(settings=["search.max_trials=20"])) is not None
    assert read_study(bucket, STUDY.name).trials[names.TrialId("00000")].state is TrialState.FAILED


def test_more_epochs_are_announced_with_what_they_change(bucket: BusyBucket, caplog: pytest.LogCaptureFixture) -> None:
    bucket.older.write([*failed(0, "ValueError: 1"), created(1)])
    assert take_over(bucket, load(settings=["training.epochs=20"])) is not None
    assert (
        "training.epochs was 10 and is now 20: trials that have not ended and new trials are trained for 20 epochs, "
        "and the 1 trials that have ended keep their results. To train all"
    ) in caplog.text
