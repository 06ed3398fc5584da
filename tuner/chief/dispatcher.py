"""Matches the workers that wait for a trial with the trials that the algorithm suggests.

A queued trial wakes only one worker, because a thousand may be waiting. Suggestions are made in a separate thread, in
batches of one suggestion per waiting worker. Therefore a slow suggestion (a Gaussian process may take seconds) delays
only the workers that wait for a trial.

When no more trials can be suggested, workers that wait in vain are dismissed, so that their GPUs become free while the
last trials are trained. Some stay, in case a worker with a trial is lost.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext

from tuner.search.claims import Instant
from tuner.search.oracle import Oracle
from tuner.search.suggester import NoSuggestion, Observation, Suggester, Suggestion
from tuner.study.ending import STOP
from tuner.study.records import Ended, Paused, Record, Value, Withdrawn

BATCH_S = 0.01
"""Seconds after which a batch of suggestions is handed out, even if more workers are waiting."""


class Dispatcher:
    """Wakes workers and requests suggestions. Everything except the suggestions themselves runs in one event loop.

    Args:
        oracle: Holds the study's state, and the queue of trials.
        suggester: The algorithm.
        now: The chief's clock.
        append: Adds records to the journal, if no call waits for them.
        commit: Makes records durable, then acts on them.
        suggesting: Returns a context manager that measures one suggestion.
        spare: Number of waiting workers that stay although no trial is left for them; None if all stay.
    """

    def __init__(
        self,
        oracle: Oracle,
        suggester: Suggester,
        now: Callable[[], Instant],
        append: Callable[[Sequence[Record]], None],
        commit: Callable[[Sequence[Record]], Awaitable[None]],
        suggesting: Callable[[], AbstractContextManager[None]] = nullcontext,
        spare: int | None = None,
    ) -> None:
        self._oracle = oracle
        self._suggester = suggester
        self._now = now
        self._append = append
        self._commit = commit
        self._suggesting = suggesting
        self._spare = spare
        self._thread = ThreadPoolExecutor(1, "suggest")
        self._waiting: dict[asyncio.Future[bool], bool] = {}
        """The workers that wait, in order, and whether each is one of Keras Tuner's own."""
        self._producing: asyncio.Task[None] | None = None
        self._missed_result: Exception | None = None
        """Error because of which the algorithm did not receive a result. Used only in the algorithm's thread."""
        self.broken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Fails with the algorithm's error if the algorithm can make no more suggestions."""

    @property
    def waiting(self) -> int:
        """Number of workers that wait for a trial."""
        return len(self._waiting)

    @property
    def wanted_workers(self) -> int | None:
        """Number of workers that the search can use, with spare ones; None if it can use any or has finished."""
        needed = None if self._oracle.state.finished else self._oracle.needed_workers
        return None if needed is None or self._spare is None else needed + self._spare

    async def wait(self, timeout_s: float, stock: bool = False) -> bool:
        """Return when there may be a trial for this worker, when the search has finished, or after `timeout_s`.

        The result is whether the worker is dismissed if it gets no trial now.
        `stock`: whether it is one of Keras Tuner's own workers, which get no paused trials.
        """
        waiter: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting[waiter] = stock
        self.produce()
        self._dismiss()
        try:
            is_dismissed = await asyncio.wait_for(waiter, timeout_s)
            if (task := asyncio.current_task()) and task.cancelling():  # wait_for loses it if the result comes too
                raise asyncio.CancelledError
            return is_dismissed
        except TimeoutError:
            return False
        except asyncio.CancelledError:
            if waiter.done():  # this worker was woken for a trial, which another worker can take
                asyncio.get_running_loop().call_soon(self.wake)
            raise
        finally:
            self._waiting.pop(waiter, None)

    def wake(self) -> None:
        """Wake one worker per queued trial, or all workers if the search has finished."""
        self._answer(list(self._waiting) if self._oracle.state.finished else self._with_a_trial())
        self.produce()
        self._dismiss()

    def _answer(self, waiters: Iterable[asyncio.Future[bool]], is_dismissed: bool = False) -> None:
        for waiter in waiters:
            del self._waiting[waiter]
            if not waiter.done():
                waiter.set_result(is_dismissed)

    def _dismiss(self) -> None:
        """Dismiss the waiting workers for which no trial is left, except spare ones."""
        wanted = self.wanted_workers if self._waiting else None
        if wanted is None:
            return
        # Keras Tuner's own workers leave first, because they cannot take over a trial that has a saved model
        waiters = sorted(self._waiting, key=lambda waiter: self._waiting[waiter])
        self._answer(waiters[max(0, wanted - self._oracle.leases) :], is_dismissed=True)

    def _with_a_trial(self) -> list[asyncio.Future[bool]]:
        """Return the first workers for which trials are queued."""
        left, left_for_stock = self._oracle.queued, self._oracle.queued_for(stock=True)
        found = []
        for waiter, stock in self._waiting.items():
            if left <= 0:
                break
            if not stock or left_for_stock > 0:
                found.append(waiter)
                left, left_for_stock = left - 1, left_for_stock - stock
        return found

    def produce(self) -> None:
        """Request suggestions if workers are waiting."""
        if self._waiting:
            self._request()

    def _request(self) -> None:
        wanted = self._oracle.wants_suggestion or self._is_stock_idle()
        if wanted and not self.broken.done() and (self._producing is None or self._producing.done()):
            self._producing = asyncio.create_task(self._produce())

    def _is_stock_idle(self) -> bool:
        """Return whether one of Keras Tuner's own workers waits for a new trial, because only paused trials wait."""
        is_paused = self._oracle.state.control.is_paused
        is_waiting = any(self._waiting.values()) and self._oracle.starts_trials and not is_paused
        return is_waiting and not self._oracle.queued_for(stock=True)

    async def enqueue(self, values: Mapping[str, Value]) -> dict[str, Value]:
        """Suggest a user's configuration next, and return it with all defaults.

        Raises SpaceError if it cannot be tried. No other suggestion can take its place meanwhile.
        """
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._enqueue, values)

    def _enqueue(self, values: Mapping[str, Value]) -> dict[str, Value]:
        completed = self._suggester.completed(values)
        self._suggester.enqueue(completed)
        return completed

    def observe(self, observations: Sequence[Observation]) -> None:
        """Pass what is now known about trials to the algorithm, in its own thread and so before its next suggestion."""
        self._thread.submit(self._observe, observations)

    def ended(self, records: Sequence[Ended | Paused | Withdrawn]) -> None:
        """Pass the results of trials to the algorithm, in its own thread and therefore before its next suggestion.

        For the algorithm, a trial that is paused has ended with the score that it has, until it ends with another.

        If the algorithm is slow, the next suggestion is started now, because the trial's worker is about to request it.
        """
        self._thread.submit(self._learn, records)
        if self._suggester.slow:
            self._request()

    def _observe(self, observations: Sequence[Observation]) -> None:
        try:
            for observation in observations:
                self._suggester.observe(observation)
        except Exception as error:
            self._missed_result = error

    def _learn(self, records: Sequence[Ended | Paused | Withdrawn]) -> None:
        try:
            for record in records:
                by_user = not isinstance(record, Paused) and record.budget == STOP
                self._suggester.ended(record.trial, record.state, record.score, record.best_epoch, by_user)
        except Exception as error:
            self._missed_result = error

    async def _produce(self) -> None:
        try:
            loop, count = asyncio.get_running_loop(), max(1, self.waiting)
            suggestions = await loop.run_in_executor(self._thread, self._suggest, count)
            for suggestion in suggestions:
                if self._oracle.state.finished or self._oracle.state.ending:
                    break  # failed trials or a budget have ended the search in the meantime
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
        if suggestions[-1] is not NoSuggestion.WAIT:  # there may be more trials once the woken workers have taken these
            asyncio.get_running_loop().call_soon(self.wake)

    def _suggest(self, count: int) -> list[Suggestion | NoSuggestion]:
        if self._missed_result is not None:
            raise self._missed_result
        until = time.monotonic() + BATCH_S
        suggestions: list[Suggestion | NoSuggestion] = []
        while len(suggestions) < count:
            with self._suggesting():
                suggestions.append(self._suggester.suggest())
            if isinstance(suggestions[-1], NoSuggestion) or time.monotonic() > until:
                break
        return suggestions
