"""A journal with missing segments: readers and chiefs name the first missing object, and do not stop at the gap."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.study.test_journal import STUDY, created, opened
from tuner import names
from tuner.bucket.local import LocalBucket
from tuner.chief.journal_writer import JournalWriter
from tuner.errors import EmptiedBucketError, JournalError
from tuner.study import snapshots
from tuner.study.journal import JournalReader, check_not_emptied, decode, find_gap, read_records, read_study
from tuner.study.records import Finished
from tuner.study.state import StudyState


@pytest.fixture
def bucket(tmp_path: Path) -> LocalBucket:
    return LocalBucket(tmp_path / "bucket")


def test_the_next_chief_does_not_continue_in_the_middle_of_an_emptied_bucket(bucket: LocalBucket) -> None:
    JournalWriter(bucket, STUDY, "w1", 7).write([created(0)])
    with pytest.raises(EmptiedBucketError, match=r"lost the beginning .* start the search again with another `name`"):
        check_not_emptied(bucket, STUDY)


def test_a_single_missing_segment_is_another_error(bucket: LocalBucket) -> None:
    JournalWriter(bucket, STUDY, "w1", 1).write([opened()])
    JournalWriter(bucket, STUDY, "w1", 3).write([created(0)])
    check_not_emptied(bucket, STUDY)
    with pytest.raises(JournalError, match=r"0000000002\.jsonl is missing, but later objects"):
        JournalReader(bucket, STUDY).poll()


def journal_of(bucket: LocalBucket, segments: int) -> None:
    journal = JournalWriter(bucket, STUDY, "w1", 1)
    journal.write([opened()])
    for number in range(segments - 1):
        journal.write([created(number)])


def read_until(bucket: LocalBucket, last: int) -> StudyState:
    """Return the state after segment `last`."""
    state = StudyState()
    for number in range(1, last + 1):
        name = names.journal_segment(STUDY, number)
        for record in decode(name, bucket.read(name)):
            state.apply(record)
    return state


@pytest.mark.parametrize(
    ("lost", "says"),
    [
        ((3,), "the journal segment {3} is missing"),
        ((1,), "the journal segment {1} is missing"),
        ((2, 4), "2 journal segments of study 'cifake' are missing, the first of them {2}"),
        ((1, 2, 3, 4), "4 journal segments of study 'cifake' are missing, the first of them {1}"),
    ],
)
@pytest.mark.parametrize(
    "read", [read_study, lambda *of: list(read_records(*of)), lambda *of: JournalReader(*of).poll()]
)
def test_readers_name_the_first_missing_segment(
    bucket: LocalBucket, lost: tuple[int, ...], says: str, read: Callable[[LocalBucket, str], object]
) -> None:
    journal_of(bucket, 5)
    for number in lost:
        bucket.delete(names.journal_segment(STUDY, number))
    text = says.format(*(names.journal_segment(STUDY, number) for number in range(6)))
    with pytest.raises(JournalError, match=text):
        read(bucket, STUDY)


def test_a_state_needs_only_the_segments_after_its_snapshot_but_the_history_needs_all(bucket: LocalBucket) -> None:
    journal_of(bucket, 5)
    state = read_study(bucket, STUDY)
    bucket.write(names.snapshot(STUDY, 4), snapshots.encode(4, read_until(bucket, 4)))
    bucket.delete(names.journal_segment(STUDY, 2))
    assert read_study(bucket, STUDY) == state
    with pytest.raises(JournalError, match=r"0000000002\.jsonl is missing"):
        list(read_records(bucket, STUDY))


def test_the_end_of_a_journal_is_missing_if_a_snapshot_includes_it(bucket: LocalBucket) -> None:
    journal_of(bucket, 5)
    bucket.write(names.snapshot(STUDY, 5), b"damaged")
    for number in (4, 5):
        bucket.delete(names.journal_segment(STUDY, number))
    with pytest.raises(JournalError, match=r"2 journal segments .* the first of them .*0000000004\.jsonl"):
        read_study(bucket, STUDY)


def test_a_study_that_has_checkpoints_but_no_journal_has_lost_it(bucket: LocalBucket) -> None:
    bucket.write(names.checkpoint(STUDY, "00000", 1, 0), b"model")
    with pytest.raises(JournalError, match=r"0000000001\.jsonl is missing"):
        read_study(bucket, STUDY)


def test_a_segment_that_appears_while_the_journal_is_listed_is_not_missing(bucket: LocalBucket) -> None:
    """A folder may show the newer of two files that appear while it is read."""
    journal_of(bucket, 5)
    listed = bucket.list
    unseen = names.journal_segment(STUDY, 4)
    bucket.list = lambda prefix="": (name for name in listed(prefix) if name != unseen)  # type: ignore[method-assign]
    assert find_gap(bucket, STUDY) is None


def test_a_number_far_beyond_the_others_is_a_gap_that_is_found_at_once(bucket: LocalBucket) -> None:
    journal_of(bucket, 2)
    bucket.write(names.journal_segment(STUDY, 9_999_999_999), b"stray")
    gap = find_gap(bucket, STUDY)
    assert gap is not None
    assert (gap.first, gap.missing) == (3, 9_999_999_996)


def test_a_lost_last_segment_is_named_if_the_study_was_evaluated(bucket: LocalBucket) -> None:
    journal_of(bucket, 3)
    JournalWriter(bucket, STUDY, "w1", 4).write([Finished(at=9, reason="all trials have ended")])
    bucket.write(names.evaluation(STUDY, names.METRICS_JSON), b"{}")
    assert read_study(bucket, STUDY).finished
    bucket.delete(names.journal_segment(STUDY, 4))
    reader = JournalReader(bucket, STUDY)
    for _ in range(2):
        with pytest.raises(
            JournalError, match=r"0000000004\.jsonl is missing, but the study 'cifake' has an evaluation"
        ):
            reader.poll()


def test_a_study_that_is_searched_again_after_its_evaluation_has_lost_nothing(bucket: LocalBucket) -> None:
    journal = JournalWriter(bucket, STUDY, "w1", 1)
    journal.write([opened()])
    journal.write([Finished(at=9, reason="all trials have ended"), opened(term=2)])
    bucket.write(names.evaluation(STUDY, names.METRICS_JSON), b"{}")
    assert read_study(bucket, STUDY).term == 2
