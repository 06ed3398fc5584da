"""The journal's writer: appends records with group commit, and detects a newer chief."""

import asyncio
import contextlib
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

from pydantic import ValidationError

from tuner import names
from tuner.bucket import Bucket
from tuner.errors import BucketError, FencedError, NewerFormatError, ObjectExistsError, ObjectNotFoundError
from tuner.study.journal import Header, encode
from tuner.study.records import Record
from tuner.study.snapshots import Snapshotter

LINGER_S = 0.2
"""Seconds for which records that no call waits for may stay in memory, so that they share a segment."""
WATCH_S = 5.0
"""Seconds without a write after which a chief checks whether it is still the newest."""
GATHER_S = 0.002
"""Seconds for which a segment waits for more records if several commits shared the last one. Without this, every commit
to a local disk would be a segment of its own, and 16 workers got a third fewer trials per second."""
STUCK_S = 10.0
"""Seconds without an answer of the bucket after which the chief is not ready."""


class FlushMetrics(Protocol):
    """Where the writer reports its flushes; JournalMetrics exports them to Prometheus."""

    def flushing(self, records: int) -> AbstractContextManager[None]:
        """Measure the block that writes a segment of that many records."""


class NoFlushMetrics:
    """Measures nothing."""

    def flushing(self, records: int) -> AbstractContextManager[None]:
        """Return a context that does nothing."""
        return nullcontext()


class JournalWriter:
    """Appends the records of one chief. Records that arrive while a segment is being written share the next one.

    With a snapshotter, it also writes snapshots from time to time. The snapshotter's state must include every record as
    soon as it is appended.
    """

    def __init__(
        self,
        bucket: Bucket,
        study: str,
        writer: str,
        next_number: int,
        snapshotter: Snapshotter | None = None,
        metrics: FlushMetrics | None = None,
    ) -> None:
        self._bucket = bucket
        self._study = study
        self._writer = writer
        self._number = next_number
        self._snapshotter = snapshotter
        self._metrics = metrics or NoFlushMetrics()
        self._pending: list[Record] = []
        self._pending_since: float | None = None
        """When the oldest pending record was appended (monotonic)."""
        self._writing_since: float | None = None
        """When the oldest record of the segment that is being written was appended (monotonic)."""
        self._unchecked_since: float | None = None
        """Since when the bucket has not answered whether this chief is still the newest (monotonic)."""
        self._waiters: list[asyncio.Future[None]] = []
        self._wake = asyncio.Event()
        self._urgent = asyncio.Event()
        self._closing = False
        self._failure: BaseException | None = None
        self._saving: asyncio.Future[None] | None = None
        """Writes the newest snapshot to the bucket."""

    def write(self, records: Sequence[Record]) -> None:
        """Write one segment now (blocking). Raises FencedError if a newer chief has taken its number, BucketError."""
        name = names.journal_segment(self._study, self._number)
        try:
            with self._metrics.flushing(len(records)):
                self._bucket.create(name, encode(self._number, self._writer, records))
        except ObjectExistsError:
            raise self._fenced() from None
        self._number += 1

    def append(self, records: Sequence[Record]) -> None:
        """Add records that no call waits for; they are written with the next segment."""
        if records and self._pending_since is None:
            self._pending_since = time.monotonic()
        self._pending.extend(records)
        self._wake.set()

    def commit(self, records: Sequence[Record]) -> asyncio.Future[None]:
        """Add records at once, and return a future that is done when they and all earlier ones are durable.

        The future fails with what `write` raised, even after `run` has ended with that error.
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
        """Write segments until `close`. Raises what `write` raises, and fails all futures of `commit` with it."""
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
            # At this moment the snapshotter's state is the one after these records. Without records no segment gets
            # this number, and a snapshot named after it would hide the segment that does.
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
                        waiter.exception()  # keeps asyncio from logging a waiter that was abandoned
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
        """Raise FencedError if a newer chief has written, which a chief with nothing to write would never detect."""
        while True:
            number = self._number
            await asyncio.sleep(WATCH_S)
            if number != self._number:
                self._unchecked_since = None  # a write succeeded
                continue
            self._unchecked_since = self._unchecked_since or time.monotonic()
            if await asyncio.to_thread(self._is_others, number):
                raise self._fenced()

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
        """Return for how long the oldest record, or the check for a newer chief, has waited for the bucket.

        0 if nothing is waiting.
        """
        since = [at for at in (self._writing_since, self._pending_since, self._unchecked_since) if at is not None]
        return time.monotonic() - min(since) if since else 0.0

    def problem(self) -> str:
        """Return a sentence if the journal seems to be stuck, else an empty string."""
        waiting_s = self.waiting_s()
        if waiting_s < STUCK_S:
            return ""
        return f"the journal cannot be written: {self._bucket.url} has not answered for {waiting_s:.0f} s"

    def _fenced(self) -> FencedError:
        return FencedError(
            f"another chief has taken over the study {self._study!r} in {self._bucket.url}; this one exits."
        )

    def close(self) -> None:
        """Let `run` return once all records are written."""
        self._closing = True
        self._wake.set()
        self._urgent.set()
