"""The journal's writer, which appends records with group commit and detects a newer chief."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

from pydantic import ValidationError

from tuner import names
from tuner.bucket import Bucket
from tuner.errors import (
    BucketError,
    BucketFullError,
    FencedError,
    JournalError,
    NewerFormatError,
    ObjectExistsError,
    ObjectNotFoundError,
    ReleaseFencedError,
)
from tuner.names import ReleaseId
from tuner.study.journal import Header, decode, emptied_bucket, encode, lost_segment
from tuner.study.records import Opened, Record
from tuner.study.snapshots import Snapshotter

log = logging.getLogger(__name__)

LINGER_S = 0.2
"""Seconds for which records that no call waits for may stay in memory, so that they share a segment."""
WATCH_S = 5.0
"""Seconds without a write after which a chief checks whether it is still the newest."""
GATHER_S = 0.002
"""Seconds for which a segment waits for more records if several commits shared the last segment. Without this wait,
every commit to a local disk would be a separate segment, and 16 workers got a third fewer trials per second."""
FULL_PAUSE_S = 1.0
"""Seconds between two attempts to write a segment to a full bucket."""
STUCK_S = 10.0
"""Seconds without an answer from the bucket after which the chief is not ready."""


class FlushMetrics(Protocol):
    """Measures the writer's flushes. JournalMetrics implements it and exports the measurements to Prometheus."""

    def flushing(self, records: int) -> AbstractContextManager[None]:
        """Return a context manager that measures the writing of a segment with this number of records."""


class NoFlushMetrics:
    """Measures nothing."""

    def flushing(self, records: int) -> AbstractContextManager[None]:
        """Return a context manager that does nothing."""
        return nullcontext()


class JournalWriter:
    """Appends the records of one chief. Records that arrive while a segment is being written share the next segment.

    With a snapshotter, the writer also writes snapshots. The snapshotter's state must include every record as soon as
    the record is appended.
    """

    def __init__(
        self,
        bucket: Bucket,
        study: str,
        writer: str,
        next_number: int,
        snapshotter: Snapshotter | None = None,
        metrics: FlushMetrics | None = None,
        release: ReleaseId | None = None,
        patience_s: float = 0.0,
    ) -> None:
        """Prepare to write segment `next_number`.

        Args:
            bucket: Bucket of the study.
            study: Name of the study.
            writer: Random id of this chief.
            next_number: Number of the first segment that does not exist yet.
            snapshotter: Takes and writes snapshots; None for none.
            metrics: Measures the flushes.
            release: This chief's release; None outside Kubernetes.
            patience_s: Seconds for which `run` waits for space if the bucket is full.
        """
        self._bucket = bucket
        self._study = study
        self._writer = writer
        self._number = next_number
        self._first = next_number
        """Number of this chief's first segment."""
        self._snapshotter = snapshotter
        self._metrics = metrics or NoFlushMetrics()
        self._release = release
        self._patience_s = patience_s
        self._full = ""
        """Why the last attempt to write a segment failed, if the bucket is full."""
        self._pending: list[Record] = []
        self._pending_since: float | None = None
        """When the oldest pending record was appended (monotonic)."""
        self._writing_since: float | None = None
        """When the oldest record of the segment that is being written was appended (monotonic)."""
        self._unchecked_since: float | None = None
        """When the oldest unanswered check for a newer chief began (monotonic)."""
        self._waiters: list[asyncio.Future[None]] = []
        self._wake = asyncio.Event()
        self._urgent = asyncio.Event()
        self._closing = False
        self._failure: BaseException | None = None
        self._saving: asyncio.Future[None] | None = None
        """Completes when the newest snapshot has been written to the bucket."""

    def write(self, records: Sequence[Record]) -> None:
        """Write one segment, and block until it is written.

        Raises FencedError if a newer chief has already written a segment with this number, and BucketError.
        """
        name = names.journal_segment(self._study, self._number)
        try:
            with self._metrics.flushing(len(records)):
                self._bucket.create(name, encode(self._number, self._writer, records))
        except ObjectExistsError:
            raise self._fenced() from None
        self._number += 1

    def append(self, records: Sequence[Record]) -> None:
        """Add records that no call waits for. The next segment will include them."""
        if records and self._pending_since is None:
            self._pending_since = time.monotonic()
        self._pending.extend(records)
        self._wake.set()

    def commit(self, records: Sequence[Record]) -> asyncio.Future[None]:
        """Add records, and return a future that completes when these and all earlier records are durable.

        If `write` raises an error, the future fails with it, even if `run` has already ended with that error.
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
        """Write segments until `close` is called.

        Raises the errors of `write`, after failing all futures of `commit` with the same error.
        """
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
            # At this moment, the snapshotter's state includes these records and no later ones. Without records, no
            # segment is written now, and a snapshot with this number would hide the segment that gets it later.
            number, snapshot = self._number, None
            if self._snapshotter and records:
                snapshot = self._snapshotter.take(len(records), self._saving is None or self._saving.done())
            try:
                if records:
                    await self._write_when_there_is_room(records)
            except BaseException as error:
                self._failure = error
                for waiter in [*waiters, *self._waiters]:
                    if not waiter.done():
                        waiter.set_exception(error)
                        waiter.exception()  # prevents asyncio from logging the error if the waiter was abandoned
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

    async def _write_when_there_is_room(self, records: Sequence[Record]) -> None:
        """Write one segment. While the bucket is full, the calls of workers wait, and no trial or epoch is lost."""
        deadline = time.monotonic() + self._patience_s
        while True:
            try:
                await asyncio.to_thread(self.write, records)
            except BucketFullError as error:
                if self._closing or time.monotonic() >= deadline:
                    raise
                if not self._full:
                    log.warning("%s Retrying for up to %g s.", error, self._patience_s)
                self._full = str(error)
                await asyncio.sleep(FULL_PAUSE_S)
            else:
                if self._full:
                    log.info("the bucket has space again")
                self._full = ""
                return

    async def watch(self) -> None:
        """Raise an error that a write would not notice.

        Raises FencedError if a newer chief has written while this chief had no records to write, and EmptiedBucketError
        if the bucket has lost the first or the last segment that this chief wrote. Without this check, the chief would
        continue the journal in the middle of an empty bucket.
        """
        while True:
            number = self._number
            await asyncio.sleep(WATCH_S)
            lost = await asyncio.to_thread(self._lost_segment, number - 1) if self._first < number else None
            if lost is not None:
                if lost == self._first:
                    raise emptied_bucket(self._bucket, self._study)
                raise lost_segment(self._bucket, self._study, lost)
            if number != self._number:
                self._unchecked_since = None  # a write succeeded
                continue
            self._unchecked_since = self._unchecked_since or time.monotonic()
            if await asyncio.to_thread(self._is_others, number):
                raise await asyncio.to_thread(self._fenced)

    def _lost_segment(self, last: int) -> int | None:
        """Return the number of this chief's first or last segment if the bucket no longer has it, else None."""
        self._unchecked_since = self._unchecked_since or time.monotonic()
        try:
            for number in dict.fromkeys((self._first, last)):
                if not self._bucket.exists(names.journal_segment(self._study, number)):
                    return number
        except BucketError:
            pass  # the next check decides
        return None

    def _is_others(self, number: int) -> bool:
        name = names.journal_segment(self._study, number)
        try:
            first, _, _ = self._bucket.read(name).partition(b"\n")
            is_others = Header.model_validate_json(first).writer != self._writer
        except NewerFormatError:
            is_others = True
        except (ObjectNotFoundError, ValidationError):
            is_others = False  # a damaged segment makes the next write fail
        except BucketError:
            return False  # the next check or write decides
        self._unchecked_since = None
        return is_others

    @property
    def segments(self) -> int:
        """Number of segments in the journal."""
        return self._number - 1

    def waiting_s(self) -> float:
        """Return for how many seconds the oldest record, or the check for a newer chief, has waited for the bucket.

        0 if nothing is waiting.
        """
        since = [at for at in (self._writing_since, self._pending_since, self._unchecked_since) if at is not None]
        return time.monotonic() - min(since) if since else 0.0

    def problem(self) -> str:
        """Return a sentence if the bucket is full or has not answered for STUCK_S, else an empty string."""
        if self._full:
            return self._full
        waiting_s = self.waiting_s()
        if waiting_s < STUCK_S:
            return ""
        return f"the journal cannot be written because {self._bucket.url} has not answered for {waiting_s:.0f} s"

    def _fenced(self) -> FencedError:
        """Return the error of a chief that a newer one has replaced. Reads from the bucket who the newer one is."""
        study = f"the study {self._study!r} in {self._bucket.url}"
        newer = self._newer_release()
        if newer is None or newer == self._release:
            return FencedError(f"another chief has taken over {study}, so this chief exits.")
        return ReleaseFencedError(
            f"the chief of {newer} has taken over {study}, so this chief exits. A study belongs to one release: "
            "uninstall one of the two releases, or choose another `name` to start a new study."
        )

    def _newer_release(self) -> ReleaseId | None:
        """Return the release of the chief that wrote this chief's next segment; None if it cannot be determined."""
        name = names.journal_segment(self._study, self._number)
        with contextlib.suppress(BucketError, JournalError):
            for record in decode(name, self._bucket.read(name)):  # a chief's first segment opens its term
                if isinstance(record, Opened):
                    return record.release_id
        return None

    def close(self) -> None:
        """Make `run` return once all records are written."""
        self._closing = True
        self._wake.set()
        self._urgent.set()
