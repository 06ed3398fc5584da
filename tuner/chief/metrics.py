"""What the chief measures as it goes: its answers, its suggestions, and its journal."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import grpc
from prometheus_client import CollectorRegistry

from tuner.monitoring import catalogue
from tuner.monitoring.catalogue import counter, histogram

Call = Callable[[bytes, Any], Awaitable[bytes]]
"""A gRPC method, from the bytes of the request to those of the answer."""


ANSWERS = (
    "CANCELLED", "FAILED_PRECONDITION", "INVALID_ARGUMENT", "NOT_FOUND", "RESOURCE_EXHAUSTED", "UNAVAILABLE", "UNKNOWN",
)  # fmt: skip
"""With which codes calls fail, as a rule: counted from 0 on, since a counter that begins at 1 has no rate."""


class ServiceMetrics:
    """How long calls and suggestions take; registered nowhere where no registry is given."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self._calls = histogram(catalogue.RPC, registry)
        self._errors = counter(catalogue.RPC_ERRORS, registry)
        self._suggestions = histogram(catalogue.SUGGESTION, registry)

    def timed(self, method: str, call: Call) -> Call:
        """Return the same gRPC method, measured."""
        seconds = self._calls.labels(method)
        for code in ANSWERS:
            self._errors.labels(method, code)

        async def measured(data: bytes, context: Any) -> bytes:
            began = time.perf_counter()
            try:
                return await call(data, context)
            except BaseException as error:
                self._errors.labels(method, _code(error, context)).inc()
                raise
            finally:
                seconds.observe(time.perf_counter() - began)

        return measured

    @contextmanager
    def suggesting(self) -> Iterator[None]:
        """Measure a suggestion."""
        with self._suggestions.time():
            yield


class JournalMetrics:
    """How long the journal's flushes take; registered nowhere where no registry is given."""

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
    for code in grpc.StatusCode:  # the context has it as an enum's member, or as its number
        if context.code() in (code, code.value[0]) and code is not grpc.StatusCode.OK:
            return str(code.name)
    return "UNKNOWN"  # an exception of ours
