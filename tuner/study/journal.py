"""The journal of a study: its format, reading it once, and following it while it grows.

A journal is a sequence of objects, called segments, that are numbered from 1 without gaps. A segment is created only if
it does not exist, and never changes. Therefore all records have one order even if two chiefs write, and no segment is
incomplete. The first line of a segment is its header. Each of the other lines is a record in JSON. Readers skip records
of a kind that a newer minor version of the format has added.

The newest chief wins. It opens its term by creating the next segment, and the older chief then cannot create that
segment (FencedError).
"""

import hashlib
import itertools
import json
import logging
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from pydantic import ValidationError

from tuner import names
from tuner.bucket import Bucket
from tuner.config.formats import Versioned
from tuner.config.settings import STUDY_NAME
from tuner.errors import EmptiedBucketError, JournalError, NewerFormatError, ObjectNotFoundError, UsageError
from tuner.study import snapshots
from tuner.study.records import RECORD, Record, UnknownRecord
from tuner.study.state import StudyState

log = logging.getLogger(__name__)

READ_AHEAD = 32
"""Maximum number of segments that are read concurrently, because each takes 50 ms over a network."""
LISTED_STUDIES = 50
"""Maximum number of studies that an error lists."""


class Header(Versioned):
    """First line of a segment."""

    number: int
    writer: str
    """Random id of the process that wrote the segment."""
    records: int
    sha256: str
    """Checksum of everything after the header's line."""


def encode(number: int, writer: str, records: Sequence[Record]) -> bytes:
    """Return the bytes of a segment."""
    body = b"".join(RECORD.dump_json(record, by_alias=True) + b"\n" for record in records)
    header = Header(number=number, writer=writer, records=len(records), sha256=hashlib.sha256(body).hexdigest())
    return header.model_dump_json().encode() + b"\n" + body


def decode(name: str, data: bytes) -> list[Record]:
    """Return a segment's records of known kinds.

    Raises JournalError if the segment is damaged or has a newer major version. The message names the object.
    """
    first, _, body = data.partition(b"\n")
    try:
        return _decode(name, first, body)
    except NewerFormatError as error:
        raise JournalError(f"{name}: the journal segment {error}") from None


def _decode(name: str, first: bytes, body: bytes) -> list[Record]:
    try:
        header = Header.model_validate_json(first)
    except ValidationError:
        raise JournalError(f"{name}: the journal segment has no valid header. Restore it from a backup.") from None
    if hashlib.sha256(body).hexdigest() != header.sha256 or header.number != names.parse_journal_segment(name):
        raise JournalError(
            f"{name}: the journal segment is damaged (its checksum or its number is wrong). Restore it from a backup."
        )
    try:
        records = [_decode_record(name, line) for line in body.splitlines()]
    except ValidationError as error:
        what = json.dumps(error.errors()[0]["msg"])
        raise JournalError(
            f"{name}: a record cannot be understood ({what}). If a newer version of cifake-tune wrote it, use that "
            "version."
        ) from None
    return [record for record in records if record is not None]


def _decode_record(name: str, line: bytes) -> Record | None:
    """Return the record; None if its kind is unknown. Raises ValidationError, NewerFormatError."""
    try:
        return RECORD.validate_json(line)
    except ValidationError as error:
        if error.errors()[0]["type"] != "union_tag_invalid":
            raise
    unknown = UnknownRecord.model_validate_json(line)
    log.debug("%s: a record of the unknown kind %r (format %s) is skipped", name, unknown.kind, unknown.format)
    return None


class JournalReader:
    """Follows a study's journal while it grows.

    The first `poll` starts from the newest snapshot or, if `from_snapshot` is false, from the first record.
    """

    def __init__(self, bucket: Bucket, study: str, from_snapshot: bool = True) -> None:
        self.state = StudyState()
        self.next_number = 1
        self._bucket = bucket
        self._study = study
        self._from_snapshot = from_snapshot
        self._started = False
        self._unchecked_from: int | None = None
        """Number of the segment from which the journal must be complete; None once that has been checked."""

    def poll(self) -> list[Record]:
        """Read the segments written since the last call, apply them to `state`, and return their records.

        Raises JournalError if a segment is damaged or contradicts the segments before it and, at the first call, if a
        segment is missing.
        """
        if not self._started:
            self._start()
        records = self._read_new()
        if self._unchecked_from is not None:
            check_whole(self._bucket, self._study, self._unchecked_from)
            if self._lacks_its_end():
                records += self._read_new()  # the search may have finished since
                if self._lacks_its_end():
                    raise JournalError(
                        f"{self._bucket.url}: the journal segment "
                        f"{names.journal_segment(self._study, self.next_number)} is missing, but the study "
                        f"{self._study!r} has an evaluation. Restore it from a backup."
                    )
            self._unchecked_from = None
        return records

    def _read_new(self) -> list[Record]:
        records: list[Record] = []
        for name, data in _segments(self._bucket, self._study, self.next_number):
            for record in decode(name, data):
                try:
                    self.state.apply(record)
                except (KeyError, ValueError) as error:
                    raise JournalError(
                        f"{name}: a record contradicts the records before it ({error}). Restore the study's journal "
                        "from a backup."
                    ) from None
                records.append(record)
            self.next_number += 1
        return records

    def _lacks_its_end(self) -> bool:
        """Return whether the study was evaluated, but no record says that its search has finished.

        A later term may search for more trials after an evaluation, so only the first term tells.
        """
        state = self.state
        return (
            state.study is not None
            and not state.finished
            and state.term == 1
            and self._bucket.exists(names.evaluation(self._study, names.METRICS_JSON))
        )

    def _start(self) -> None:
        snapshot = snapshots.newest(self._bucket, self._study) if self._from_snapshot else None
        if snapshot is not None:
            self.state, self.next_number = snapshot.state, snapshot.segment + 1
        self._started, self._unchecked_from = True, self.next_number


def read_records(bucket: Bucket, study: str) -> Iterator[Record]:
    """Yield all records of a study's journal in order. Raises JournalError, also if a segment is missing."""
    for name, data in _segments(bucket, study, 1):
        yield from decode(name, data)
    check_whole(bucket, study)


def _segments(bucket: Bucket, study: str, first: int) -> Iterator[tuple[str, bytes]]:
    """Yield the names and bytes of the existing segments from number `first` on."""

    def read(number: int) -> tuple[str, bytes] | None:
        name = names.journal_segment(study, number)
        try:
            return name, bucket.read(name)
        except ObjectNotFoundError:
            return None

    segment = read(first)  # without threads, because most calls find nothing new
    if segment is None:
        return
    yield segment
    number, ahead = first + 1, 1
    pool = ThreadPoolExecutor(READ_AHEAD)
    try:
        while True:
            for segment in pool.map(read, range(number, number + ahead)):
                if segment is None:
                    return
                yield segment
            number, ahead = number + ahead, min(2 * ahead, READ_AHEAD)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)  # an ending process must not wait for a hung bucket


@dataclass(frozen=True)
class Gap:
    """Segments that are missing although later ones exist, or although a snapshot includes them."""

    first: int
    """Number of the first missing segment."""
    missing: int
    """Number of missing segments."""


def find_gap(bucket: Bucket, study: str, first: int = 1) -> Gap | None:
    """Return the gap in a study's journal from segment `first` on; None if it is complete or has not begun."""
    parsed = (names.parse_journal_segment(name) for name in bucket.list(names.journal_prefix(study)))
    numbers = {number for number in parsed if number is not None and number >= first}
    last = max([*numbers, *snapshots.numbers(bucket, study)], default=0)
    if not last:
        return Gap(1, 1) if _has_results(bucket, study) else None
    number = first
    while len(numbers) <= last - first:
        number = next(other for other in itertools.count(number) if other not in numbers)
        # a folder that grows while it is listed may show a segment, but not the one before it
        if not bucket.exists(names.journal_segment(study, number)):
            return Gap(number, last - first + 1 - len(numbers))
        numbers.add(number)
    return None


def check_whole(bucket: Bucket, study: str, first: int = 1) -> None:
    """Raise JournalError if a segment from number `first` on is missing. The message names the first missing object.

    Readers stop at a gap, and a chief must not write a segment into it.
    """
    gap = find_gap(bucket, study, first)
    if gap is None:
        return
    name = names.journal_segment(study, gap.first)
    if gap.missing == 1:
        raise JournalError(
            f"{bucket.url}: the journal segment {name} is missing, but later objects of study {study!r} exist. Restore "
            "it from a backup."
        )
    raise JournalError(
        f"{bucket.url}: {gap.missing:,} journal segments of study {study!r} are missing, the first of them {name}, but "
        "later objects exist. Restore them from a backup."
    )


def check_not_emptied(bucket: Bucket, study: str) -> None:
    """Raise EmptiedBucketError if the bucket has later segments of a study, but neither its first nor a snapshot."""
    gap = find_gap(bucket, study)
    if gap is not None and gap.first == 1 and not snapshots.numbers(bucket, study):
        raise emptied_bucket(bucket, study)


def emptied_bucket(bucket: Bucket, study: str) -> EmptiedBucketError:
    """Return the error of a study whose bucket was emptied or replaced while a chief was running."""
    return EmptiedBucketError(
        f"{bucket.url} has lost the beginning of the journal of study {study!r}, so it was emptied or replaced by an "
        "empty bucket while the study was running. Check whether the bucket's volume was deleted or, if the bucket has "
        f"no volume, whether its pod was replaced. Restore {names.study_prefix(study)} from a backup, or start the "
        "search again with another `name`."
    )


def lost_segment(bucket: Bucket, study: str, number: int) -> EmptiedBucketError:
    """Return the error of a chief whose own segment `number` has disappeared from the bucket."""
    return EmptiedBucketError(
        f"{bucket.url} has lost the journal segment {names.journal_segment(study, number)}, which this chief had "
        "written, so the bucket was changed while the study was running. Restore the segment from a backup. Otherwise, "
        "the study continues without what the segment recorded when it is started again."
    )


def _has_results(bucket: Bucket, study: str) -> bool:
    """Return whether the bucket has objects of a study that only a study with a journal can have."""
    prefix = names.study_prefix(study)
    results = {names.trials_prefix(study), names.evaluation(study)}
    return any(f"{prefix}{folder.rpartition('/')[2]}/" in results for folder in bucket.folders(prefix))


def read_study(bucket: Bucket, study: str) -> StudyState:
    """Return the current state of a study. Raises UsageError if the bucket has no such study."""
    reader = JournalReader(bucket, study)
    reader.poll()
    if reader.state.study is None:
        raise no_study(bucket, study)
    return reader.state


def no_study(bucket: Bucket, study: str) -> UsageError:
    """Return the error of a study that the bucket does not have, which lists the studies that it has."""
    studies = list(bucket.folders(names.STUDIES_PREFIX))
    if not studies:
        return UsageError(f"{bucket.url} has no study {study!r:.200}, and no other study yet. Check the bucket.")
    more = f" and {len(studies) - LISTED_STUDIES} more" if len(studies) > LISTED_STUDIES else ""
    return UsageError(
        f"{bucket.url} has no study {study!r:.200}. Its studies: {', '.join(studies[:LISTED_STUDIES])}{more}. "
        "Choose one of them with --study, or another bucket with --bucket."
    )


def _has_study(bucket: Bucket, study: str) -> bool:
    """Return whether the bucket has objects of a study. Listing all studies would be slow in a bucket of many."""
    is_name = re.fullmatch(STUDY_NAME, study) is not None
    return is_name and next(iter(bucket.list(names.study_prefix(study))), None) is not None


def find_study(bucket: Bucket, study: str | None) -> str:
    """Return `study` or, if it is None, the bucket's only study.

    Raises UsageError if the bucket does not have it or, if `study` is None, has several.
    """
    if study is not None:
        if not _has_study(bucket, study):
            raise no_study(bucket, study)
        return study
    studies = list(bucket.folders(names.STUDIES_PREFIX))
    if len(studies) == 1:
        return studies[0]
    if not studies:
        raise UsageError(f"{bucket.url} has no study yet. Check the bucket, or start a study first.")
    raise UsageError(f"{bucket.url} has several studies. Choose one of them with --study: {', '.join(studies)}.")
