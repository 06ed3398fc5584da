"""The journal's writer: appends records with group commit, and notices a newer chief."""

import asyncio
import contextlib
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

from pydantic import ValidationError

from tuner import names
from tuner.bucket import Bucket
from tuner.errors import BucketError, FencedError, ObjectExistsError, ObjectNotFoundError
from tuner.study.journal import Header, encode
from tuner.study.records import Record
from tuner.study.snapshots import Snapshotter

LINGER_S = 0.2
"""How long records that nobody waits for may stay in memory, so that they share a segment."""
WATCH_S = 5.0
"""A chief that writes nothing for so long looks whether it is still the newest."""
GATHER_S = 0.002
"""A segment waits so long for more records where several shared the last one: on a local disk each would be a segment
of its own, and 16 workers got a third fewer trials a second."""
STUCK_S = 10.0
"""A bucket that takes longer to answer keeps the chief from its work."""


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

    def problem(self) -> str:
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
