"""The journal of a study: append with group commit, read, follow, recover.

A journal is a sequence of objects (segments) numbered from 1 without gaps. Each is written once, with "must
not exist" as its precondition, so there is one order of all records whoever writes them, and a segment is
never torn. A segment's first line is its header, the rest are records, one JSON object a line.

The newest chief wins: it opens its term by creating the next segment, and the older chief finds the segment
it was about to create taken (FencedError).
"""

import asyncio
import contextlib
import hashlib
import json
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from pydantic import BaseModel, ConfigDict, ValidationError

from tuner import names
from tuner.bucket import Bucket
from tuner.chief.metrics import JournalMetrics
from tuner.errors import BucketError, FencedError, JournalError, ObjectExistsError, ObjectNotFoundError, UsageError
from tuner.study import snapshots
from tuner.study.records import RECORD, Record
from tuner.study.snapshots import Snapshotter
from tuner.study.state import StudyState

LINGER_S = 0.2
"""How long records that nobody waits for may stay in memory, so that they share a segment."""
WATCH_S = 5.0
"""A chief that writes nothing for so long looks whether it is still the newest."""
GATHER_S = 0.002
"""A segment waits so long for more records where several shared the last one: on a local disk each would be a segment
of its own, and 16 workers got a third fewer trials a second."""
STUCK_S = 10.0
"""A bucket that takes longer to answer keeps the chief from its work."""
READ_AHEAD = 32
"""So many segments are read at once where many follow: over a network each takes 50 ms."""


class Header(BaseModel):
    """First line of a segment."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: int
    number: int
    writer: str
    """Random id of the process that wrote it."""
    records: int
    sha256: str
    """Of all that follows the header's line."""


VERSION = 1


def encode(number: int, writer: str, records: Sequence[Record]) -> bytes:
    """Return the bytes of a segment."""
    body = b"".join(RECORD.dump_json(record, by_alias=True) + b"\n" for record in records)
    header = Header(
        version=VERSION, number=number, writer=writer, records=len(records), sha256=hashlib.sha256(body).hexdigest()
    )
    return header.model_dump_json().encode() + b"\n" + body


def decode(name: str, data: bytes) -> list[Record]:
    """Return a segment's records. Raises JournalError, with the object's name, where it is damaged."""
    first, _, body = data.partition(b"\n")
    try:
        header = Header.model_validate_json(first)
    except ValidationError:
        raise JournalError(f"{name}: the journal segment has no valid header; restore it from a copy.") from None
    if header.version != VERSION:
        raise JournalError(
            f"{name}: the journal segment has version {header.version}, and this program knows {VERSION}; "
            "use the version of cifake-tune that wrote it."
        )
    if hashlib.sha256(body).hexdigest() != header.sha256 or header.number != names.parse_journal_segment(name):
        raise JournalError(f"{name}: the journal segment is damaged (its checksum differs); restore it from a copy.")
    try:
        return [RECORD.validate_json(line) for line in body.splitlines()]
    except ValidationError as error:
        what = json.dumps(error.errors()[0]["msg"])
        raise JournalError(
            f"{name}: a record cannot be understood ({what}); was it written by a newer version?"
        ) from None


class JournalReader:
    """Follows a study's journal, also while it is written; the first `poll` begins at the newest snapshot."""

    def __init__(self, bucket: Bucket, study: str) -> None:
        self.state = StudyState()
        self.next_number = 1
        self._bucket = bucket
        self._study = study
        self._begun = False

    def poll(self) -> list[Record]:
        """Apply the segments written since the last call to `state`, and return their records.

        Raises JournalError where one is damaged or contradicts those before it.
        """
        if not self._begun:
            self._begin()
        records: list[Record] = []
        for name, data in _segments(self._bucket, self._study, self.next_number):
            for record in decode(name, data):
                try:
                    self.state.apply(record)
                except (KeyError, ValueError) as error:
                    raise JournalError(f"{name}: a record contradicts the journal before it ({error}).") from None
                records.append(record)
            self.next_number += 1
        return records

    def _begin(self) -> None:
        snapshot = snapshots.newest(self._bucket, self._study)
        if snapshot is not None:
            self.state, self.next_number = snapshot.state, snapshot.segment + 1
        self._begun = True


def read_records(bucket: Bucket, study: str) -> Iterator[Record]:
    """Yield every record of a study's journal, from its first segment on. Raises JournalError."""
    for name, data in _segments(bucket, study, 1):
        yield from decode(name, data)


def _segments(bucket: Bucket, study: str, first: int) -> Iterator[tuple[str, bytes]]:
    """Yield names and bytes of the segments from number `first` on, as far as they are written."""

    def read(number: int) -> tuple[str, bytes] | None:
        name = names.journal_segment(study, number)
        try:
            return name, bucket.read(name)
        except ObjectNotFoundError:
            return None

    found = read(first)  # most calls find nothing new: no threads for those
    if found is None:
        return
    yield found
    number, ahead = first + 1, 1
    pool = ThreadPoolExecutor(READ_AHEAD)
    try:
        while True:
            for found in pool.map(read, range(number, number + ahead)):
                if found is None:
                    return
                yield found
            number, ahead = number + ahead, min(2 * ahead, READ_AHEAD)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)  # who is asked to stop does not wait for a bucket that hangs


def check_whole(bucket: Bucket, study: str, next_number: int) -> None:
    """Raise JournalError where segment `next_number` is missing and later ones are there.

    Readers stop at a gap; a chief must not write into it.
    """
    numbers = {names.parse_journal_segment(name) for name in bucket.list(names.journal_prefix(study))} - {None}
    if next_number not in numbers and max((n for n in numbers if n), default=0) > next_number:
        raise JournalError(
            f"{names.journal_segment(study, next_number)}: the journal segment is missing, and later ones are there; "
            "restore it from a copy."
        )


def read_study(bucket: Bucket, study: str) -> StudyState:
    """Return the state of a study as the bucket has it now. Raises UsageError where there is no such study."""
    reader = JournalReader(bucket, study)
    reader.poll()
    if reader.state.study is None:
        raise UsageError(f"{bucket.url} has no study {study!r}.")
    return reader.state


def find_study(bucket: Bucket, study: str | None) -> str:
    """Return `study`, or the bucket's only one. Raises UsageError where that leaves a choice, or none."""
    if study is not None:
        return study
    found = list(bucket.folders(names.STUDIES_PREFIX))
    if len(found) == 1:
        return found[0]
    if not found:
        raise UsageError(f"{bucket.url} has no study yet.")
    raise UsageError(f"{bucket.url} has several studies; choose one with --study: {', '.join(found)}.")


class Journal:
    """Appends records for one chief: all that arrive while a segment is being written share the next.

    With a snapshotter, whose state must move with the records that are given, it makes snapshots now and then.
    """

    def __init__(
        self,
        bucket: Bucket,
        study: str,
        writer: str,
        next_number: int,
        snapshotter: Snapshotter | None = None,
        metrics: JournalMetrics | None = None,
    ) -> None:
        self._bucket = bucket
        self._study = study
        self._writer = writer
        self._number = next_number
        self._snapshotter = snapshotter
        self._metrics = metrics or JournalMetrics()
        self._pending: list[Record] = []
        self._pending_since: float | None = None
        """Since when the oldest of them waits (monotonic); the same of those that are being written, below."""
        self._writing_since: float | None = None
        self._unseen_since: float | None = None
        """Since when the bucket does not answer whether we are still the newest (monotonic)."""
        self._waiters: list[asyncio.Future[None]] = []
        self._wake = asyncio.Event()
        self._urgent = asyncio.Event()
        self._closing = False
        self._failure: BaseException | None = None
        self._saving: asyncio.Future[None] | None = None
        """The newest snapshot's way into the bucket."""

    def write(self, records: Sequence[Record]) -> None:
        """Write one segment now (blocking). Raises FencedError where a newer chief has taken its number."""
        name = names.journal_segment(self._study, self._number)
        try:
            with self._metrics.flushing(len(records)):
                self._bucket.create(name, encode(self._number, self._writer, records))
        except ObjectExistsError:
            raise self._fenced() from None
        self._number += 1

    def append(self, records: Sequence[Record]) -> None:
        """Take records that nobody waits for; they are written with the next segment."""
        if records and self._pending_since is None:
            self._pending_since = time.monotonic()
        self._pending.extend(records)
        self._wake.set()

    def commit(self, records: Sequence[Record]) -> asyncio.Future[None]:
        """Take records, at once, and return what is done when they, and all taken before, are durable.

        It fails with what `write` raised, also after `run` has ended with it.
        """
        done = asyncio.get_running_loop().create_future()
        if self._failure is not None:
            done.set_exception(self._failure)
            return done
        self.append(records)
        self._waiters.append(done)
        self._urgent.set()
        return done

    async def run(self) -> None:
        """Write segments until `close`. Raises what `write` raises, also to all who wait."""
        shared = False
        while True:
            await self._wake.wait()
            if not self._urgent.is_set() and not self._closing:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._urgent.wait(), LINGER_S)
            await asyncio.sleep(GATHER_S if shared else 0)
            self._wake.clear()
            self._urgent.clear()
            records, self._pending = self._pending, []
            self._writing_since, self._pending_since = self._pending_since, None
            waiters, self._waiters = self._waiters, []
            shared = len(waiters) > 1
            # at this instant the snapshotter's state is the one after these records; where there are none, no segment
            # will have this number, and a snapshot of that name would hide the next one
            number, snapshot = self._number, None
            if self._snapshotter and records:
                snapshot = self._snapshotter.take(len(records), self._saving is None or self._saving.done())
            try:
                if records:
                    await asyncio.to_thread(self.write, records)
            except BaseException as error:
                self._failure = error
                for waiter in [*waiters, *self._waiters]:
                    if not waiter.done():
                        waiter.set_exception(error)
                        waiter.exception()  # one that nobody awaits any more is no news
                raise
            self._writing_since = None
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_result(None)
            if self._snapshotter and snapshot:
                self._saving = asyncio.ensure_future(asyncio.to_thread(self._snapshotter.write, number, snapshot))
            if self._closing and not self._pending:
                if self._saving:
                    await self._saving
                return

    async def watch(self) -> None:
        """Raise FencedError when a newer chief has written: whoever has nothing to write would never find out."""
        while True:
            number = self._number
            await asyncio.sleep(WATCH_S)
            if number != self._number:
                self._unseen_since = None  # it was written
                continue
            self._unseen_since = self._unseen_since or time.monotonic()
            if await asyncio.to_thread(self._is_anothers, number):
                raise self._fenced()

    def _is_anothers(self, number: int) -> bool:
        name = names.journal_segment(self._study, number)
        try:
            first, _, _ = self._bucket.read(name).partition(b"\n")
            anothers = Header.model_validate_json(first).writer != self._writer
        except (ObjectNotFoundError, ValidationError):
            anothers = False  # there is none; or the next write will tell
        except BucketError:
            return False  # the next look, or write, will tell
        self._unseen_since = None
        return anothers

    @property
    def segments(self) -> int:
        """How many segments there are."""
        return self._number - 1

    def waiting_s(self) -> float:
        """Return for how long the bucket has not taken the oldest record, or not said whether we are the newest.

        0 where there is nothing to wait for.
        """
        since = [at for at in (self._writing_since, self._pending_since, self._unseen_since) if at is not None]
        return time.monotonic() - min(since) if since else 0.0

    def trouble(self) -> str:
        """Say in a sentence why nothing can be written, as it seems; empty where nothing seems so."""
        waiting_s = self.waiting_s()
        if waiting_s < STUCK_S:
            return ""
        return f"the journal cannot be written: {self._bucket.url} has not answered for {waiting_s:.0f} s"

    def _fenced(self) -> FencedError:
        return FencedError(
            f"another chief has taken over the study {self._study!r} in {self._bucket.url}; this one ends."
        )

    def close(self) -> None:
        """Let `run` return when all that was taken is written."""
        self._closing = True
        self._wake.set()
        self._urgent.set()
