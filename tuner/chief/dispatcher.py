"""Brings together workers that wait for a trial and the trials that are suggested for them.

A trial that is queued wakes one worker, not all: a thousand may wait. Suggestions are made in a thread of their
own, a batch at a time, for as many workers as wait; a slow one (a Gaussian process takes seconds) keeps only those
waiting who want a trial.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from itertools import islice

from tuner.search.oracle import Instant, Oracle
from tuner.search.suggester import NoSuggestion, Suggester, Suggestion
from tuner.study.records import Ended, Record

BATCH_S = 0.01
"""Suggestions are made for so long before the first of them are handed out."""


class Dispatcher:
    """Everything but the suggestions themselves happens in one event loop.

    `append` takes records that nobody waits for, `commit` makes records durable and acts on them; each suggestion is
    made within a `suggesting`.
    """

    def __init__(
        self,
        oracle: Oracle,
        suggester: Suggester,
        now: Callable[[], Instant],
        append: Callable[[Sequence[Record]], None],
        commit: Callable[[Sequence[Record]], Awaitable[None]],
        suggesting: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self._oracle = oracle
        self._suggester = suggester
        self._now = now
        self._append = append
        self._commit = commit
        self._suggesting = suggesting
        self._thread = ThreadPoolExecutor(1, "suggest")
        self._waiting: dict[asyncio.Future[None], None] = {}  # an ordered set
        self._producing: asyncio.Task[None] | None = None
        self._untold: Exception | None = None
        """Why the algorithm does not know of all that ended; only its thread touches it."""
        self.broken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Fails with the error of an algorithm that cannot go on."""

    @property
    def waiting(self) -> int:
        """How many workers wait for a trial."""
        return len(self._waiting)

    async def wait(self, timeout_s: float) -> None:
        """Return when there may be a trial for this worker, the search is over, or the time is."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[waiter] = None
        self.produce()
        try:
            await asyncio.wait_for(waiter, timeout_s)
            if (task := asyncio.current_task()) and task.cancelling():  # wait_for forgets it where both happen at once
                raise asyncio.CancelledError
        except TimeoutError:
            return
        except asyncio.CancelledError:
            if waiter.done():  # it was this one's turn: let another have it
                asyncio.get_running_loop().call_soon(self.wake)
            raise
        finally:
            self._waiting.pop(waiter, None)

    def wake(self) -> None:
        """Wake as many workers as there is work for; all where the search is over."""
        count = self.waiting if self._oracle.state.finished else min(self._oracle.queued, self.waiting)
        for waiter in list(islice(self._waiting, count)):
            del self._waiting[waiter]
            if not waiter.done():
                waiter.set_result(None)
        self.produce()

    def produce(self) -> None:
        """Have suggestions made where workers wait for them."""
        if self._waiting:
            self._begin()

    def _begin(self) -> None:
        wanted = self._oracle.wants_suggestion and not self.broken.done()
        if wanted and (self._producing is None or self._producing.done()):
            self._producing = asyncio.create_task(self._produce())

    def ended(self, records: Sequence[Ended]) -> None:
        """Tell the algorithm of trials that ended: in its own thread, and so before its next suggestion.

        A slow one is begun at once: the trial's worker asks for it next.
        """
        self._thread.submit(self._tell, records)
        if self._suggester.slow:
            self._begin()

    def _tell(self, records: Sequence[Ended]) -> None:
        try:
            for record in records:
                self._suggester.ended(record.trial, record.state, record.score, record.best_epoch)
        except Exception as error:
            self._untold = error

    async def _produce(self) -> None:
        try:
            made = await asyncio.get_running_loop().run_in_executor(self._thread, self._suggest, max(1, self.waiting))
            for suggestion in made:
                if self._oracle.state.finished:
                    break  # its failures ended the search while this was made
                if isinstance(suggestion, Suggestion):
                    self._append(self._oracle.add(suggestion, self._now()))
                elif suggestion is NoSuggestion.EXHAUSTED:
                    self._oracle.exhausted = True
                    await self._commit(self._oracle.finish(self._now()))
        except Exception as error:
            self.broken.set_exception(error)
            for waiter in self._waiting:
                if not waiter.done():
                    waiter.set_exception(error)
            return
        if made[-1] is not NoSuggestion.WAIT:  # there may be more, when those woken have taken theirs
            asyncio.get_running_loop().call_soon(self.wake)

    def _suggest(self, count: int) -> list[Suggestion | NoSuggestion]:
        if self._untold is not None:
            raise self._untold
        until = time.monotonic() + BATCH_S
        made: list[Suggestion | NoSuggestion] = []
        while len(made) < count:
            with self._suggesting():
                made.append(self._suggester.suggest())
            if isinstance(made[-1], NoSuggestion) or time.monotonic() > until:
                break
        return made
