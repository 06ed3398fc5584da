"""The chief's metrics: calls, suggestions, the journal, the study and its evaluation."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import grpc
from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric

from tuner.monitoring import catalogue
from tuner.monitoring.catalogue import counter, histogram, reading
from tuner.study.attempts import INTERRUPTIONS
from tuner.study.budgets import budget_uses
from tuner.study.progress import epochs_saved
from tuner.study.records import Outcome, TrialState
from tuner.study.rungs import at_rungs
from tuner.study.state import StudyState
from tuner.study.status import EvaluationState, EvaluationStatus, SearchState, search_state
from tuner.study.worker_hours import cost_of, worker_time

Call = Callable[[bytes, Any], Awaitable[bytes]]
"""A gRPC method, which gets the bytes and the context of a request and returns the bytes of the answer."""

ANSWERS = (
    "CANCELLED", "FAILED_PRECONDITION", "INVALID_ARGUMENT", "NOT_FOUND", "RESOURCE_EXHAUSTED", "UNAVAILABLE", "UNKNOWN",
)  # fmt: skip
"""Codes with which calls usually fail. Their counters start at 0, because Prometheus cannot compute a rate if the first
value of a counter is 1."""


class ServiceMetrics:
    """Durations of calls and suggestions. Without a registry, they are not exported."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self._calls = histogram(catalogue.RPC, registry)
        self._errors = counter(catalogue.RPC_ERRORS, registry)
        self._suggestions = histogram(catalogue.SUGGESTION, registry)

    def timed(self, method: str, call: Call) -> Call:
        """Wrap `call` so that its duration, and its errors by gRPC code, are recorded under the name `method`."""
        seconds = self._calls.labels(method)
        for code in ANSWERS:
            self._errors.labels(method, code)

        async def measured(data: bytes, context: Any) -> bytes:
            started = time.perf_counter()
            try:
                return await call(data, context)
            except BaseException as error:
                self._errors.labels(method, _code(error, context)).inc()
                raise
            finally:
                seconds.observe(time.perf_counter() - started)

        return measured

    @contextmanager
    def suggesting(self) -> Iterator[None]:
        """Measure a suggestion."""
        with self._suggestions.time():
            yield


class JournalMetrics:
    """Durations of the journal's flushes. Without a registry, they are not exported."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self._flushes = histogram(catalogue.FLUSH, registry)
        self._records = counter(catalogue.RECORDS, registry)

    @contextmanager
    def flushing(self, records: int) -> Iterator[None]:
        """Measure the writing of a segment."""
        with self._flushes.time():
            yield
        self._records.inc(records)


def _code(error: BaseException, context: Any) -> str:
    """Return gRPC's code for a call that ended with an exception."""
    if isinstance(error, asyncio.CancelledError):
        return "CANCELLED"
    for code in grpc.StatusCode:  # the context contains a member of the enum, or its number
        if context.code() in (code, code.value[0]) and code is not grpc.StatusCode.OK:
            return str(code.name)
    return "UNKNOWN"  # an internal error


def study_metrics(state: StudyState) -> list[Metric]:
    """Return the metrics that are computed from a study's journal."""
    if state.study is None:
        return []
    trials = state.trials.values()
    states = Counter(trial.state for trial in trials)
    best = state.best()
    started = min((trial.started for trial in trials if trial.started), default=None)
    rungs = at_rungs(state.suggested)
    metrics = [
        reading(catalogue.SEARCH, {(name,): name is search_state(state) for name in SearchState}),
        reading(catalogue.TRIALS, {(name.lower(),): states[name] for name in TrialState}),
        reading(catalogue.ATTEMPTS, _attempts(state)),
        reading(catalogue.EPOCHS, {(): sum(len(trial.epochs) for trial in trials)}),
        reading(catalogue.EPOCHS_SAVED, {(): epochs_saved(state)}),
        reading(catalogue.RUNG_REACHED, {(str(rung),): len(at.values) for rung, at in rungs.items()}),
        reading(catalogue.RUNG_STOPPED, {(str(rung),): len(at.stopped) for rung, at in rungs.items()}),
        reading(catalogue.RUNG_PAUSED, {(str(rung),): len(at.paused) for rung, at in rungs.items()}),
        reading(catalogue.TERM, {(): state.term}),
        reading(catalogue.OUTAGE_ATTEMPTS, {(): state.outage.attempts if state.outage else 0}),
    ]
    if (planned := state.planned_trials) is not None:
        metrics.append(reading(catalogue.TRIALS_PLANNED, {(): planned}))
    if uses := budget_uses(state):
        metrics.append(
            reading(catalogue.BUDGET_USED, {(u.name,): u.base_used for u in uses if u.base_used is not None})
        )
        metrics.append(reading(catalogue.BUDGET_LIMIT, {(use.name,): use.base_limit for use in uses}))
    if any((time := worker_time(state).seconds).values()):
        metrics.append(reading(catalogue.WORK_SECONDS, {(outcome,): seconds for outcome, seconds in time.items()}))
        costs = {(outcome,): cost_of(seconds, state.settings.cost) for outcome, seconds in time.items()}
        metrics.append(reading(catalogue.WORK_COST, {label: cost for label, cost in costs.items() if cost is not None}))
    if started is not None:
        metrics.append(reading(catalogue.SEARCH_STARTED, {(): started}))
    if state.finished is not None:
        metrics.append(reading(catalogue.SEARCH_ENDED, {(): state.finished.at}))
    if best and best[0].score is not None and best[0].ended is not None:
        metrics.append(reading(catalogue.BEST_SCORE, {(): best[0].score}))
        metrics.append(reading(catalogue.BEST_SCORE_SINCE, {(): best[0].ended}))
    return metrics


def _attempts(state: StudyState) -> dict[tuple[str, ...], float]:
    # a trial that waited until the search ended has ended no attempt with its state
    ended = Counter(trial.state for trial in state.trials.values() if not trial.ended_waiting)
    outcomes: Counter[Outcome] = Counter()
    for trial in state.trials.values():
        if trial.outcomes:  # saves time, because few of possibly thousands of trials have any
            outcomes.update(trial.outcomes)
    return {
        ("finished", "completed"): ended[TrialState.COMPLETED],
        ("finished", "stopped"): ended[TrialState.STOPPED],
        ("paused", "paused"): sum(trial.pauses for trial in state.trials.values()),
        **{
            ("interrupted" if outcome in INTERRUPTIONS else "failed", outcome.value): outcomes[outcome]
            for outcome in Outcome
        },
    }


def evaluation_metrics(evaluation: EvaluationStatus) -> Iterable[Metric]:
    """Return the metrics of a study's evaluation."""
    yield reading(catalogue.EVALUATION, {(state.value,): state is evaluation.state for state in EvaluationState})
    result = evaluation.result
    if result is None or result.accuracy is None or result.accuracy_interval_95 is None or result.images is None:
        return
    lower, upper = result.accuracy_interval_95
    yield reading(catalogue.ACCURACY, {(): result.accuracy})
    yield reading(catalogue.ACCURACY_LOWER, {(): lower})
    yield reading(catalogue.ACCURACY_UPPER, {(): upper})
    yield reading(catalogue.EVALUATION_IMAGES, {(): result.images})
