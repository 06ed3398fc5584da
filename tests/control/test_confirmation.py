"""A request waits in the bucket until a chief confirms it, or is withdrawn if the search finishes first."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tuner import names
from tuner.bucket.local import LocalBucket
from tuner.config.loading import load
from tuner.control.confirmation import submit_and_await
from tuner.control.request import Request, pending, read
from tuner.errors import UsageError
from tuner.study.journal import JournalReader, encode
from tuner.study.records import Action, Controlled, Finished, Opened, Record

PAUSE = Request(action=Action.PAUSE)


@pytest.fixture
def bucket(tmp_path: Path) -> LocalBucket:
    bucket = LocalBucket(tmp_path / "bucket")
    opened = Opened(at=0, term=1, writer="w", study=load(settings=["name=night"]), data="d", direction="max")
    bucket.create(names.journal_segment("night", 1), encode(1, "w", [opened]))
    return bucket


def request(bucket: LocalBucket, sleep: Callable[[float], None]) -> Controlled | None:
    reader = JournalReader(bucket, "night")
    reader.poll()
    return submit_and_await(bucket, "night", PAUSE, reader, sleep)


def written(bucket: LocalBucket, *records: Record) -> Callable[[float], None]:
    """Return a sleep during which a chief writes these records."""
    return lambda _: bucket.create(names.journal_segment("night", 2), encode(2, "w", list(records)))


def test_the_answer_is_the_record_of_this_request(bucket: LocalBucket) -> None:
    other = Controlled(at=1, request="other", action=Action.RESUME)
    own = Controlled(at=1, request=PAUSE.id, action=Action.PAUSE)
    answer = request(bucket, written(bucket, other, own))
    assert answer is not None
    assert answer.request == PAUSE.id


def test_a_request_is_withdrawn_if_the_search_finishes_before_a_chief_has_read_it(bucket: LocalBucket) -> None:
    with pytest.raises(UsageError, match="has finished before the request was handled"):
        request(bucket, written(bucket, Finished(at=1, reason="all trials have ended")))
    assert not pending(bucket, "night")


def test_a_request_is_written_once_and_read_as_it_was_written(bucket: LocalBucket) -> None:
    seen: list[Request] = []

    def look(_: float) -> None:
        (name,) = pending(bucket, "night")
        seen.append(read(bucket, name))
        written(bucket, Controlled(at=1, request=PAUSE.id, action=Action.PAUSE))(0)

    request(bucket, look)
    assert seen == [PAUSE]


def test_later_requests_sort_after_earlier_ones() -> None:
    assert names.request_id(9, "ff") < names.request_id(10, "00") < names.request_id(1_800_000_000_000_000_000, "00")
    assert Request(action=Action.PAUSE).id != Request(action=Action.PAUSE).id
