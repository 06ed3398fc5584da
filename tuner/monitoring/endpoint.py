"""The HTTP endpoint of a process, with its metrics, health and readiness, and with routes that other modules add."""

import asyncio
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import CancelledError
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import TypeVar

from prometheus_client import CollectorRegistry, ProcessCollector, disable_created_metrics
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

import tuner
from tuner import names
from tuner.address import Address, parse_address
from tuner.monitoring import catalogue
from tuner.monitoring.catalogue import Role, reading
from tuner.monitoring.http_server import Handler, HttpServer, Request, Response, plain
from tuner.monitoring.metric_names import LABEL_STUDY

disable_created_metrics()  # type: ignore[no-untyped-call]  # otherwise each counter is exposed as two series
log = logging.getLogger(__name__)
Answer = TypeVar("Answer")

ANSWER_S = 5.0
"""Seconds after which an event loop that does not answer counts as blocked."""
FINE = ""

Check = Callable[[], str]
"""Returns a sentence that describes a problem; FINE if there is none."""


def fine() -> str:
    """Return FINE."""
    return FINE


def always(text: str) -> Check:
    """Return a check with a fixed result."""
    return lambda: text


@dataclass(frozen=True)
class Phase:
    """What a process shows in one phase of its life."""

    ready: Check
    """Check of whether the process can do its work now."""
    healthy: Check = fine
    """Check of whether the process should continue. Kubernetes restarts a container that is not healthy."""
    metrics: Callable[[], Iterable[Metric]] = tuple
    """Computes the phase's metrics at each scrape, in addition to those of the registry."""


class Monitor:
    """A process's metrics and health. Other modules may add metrics to `registry` and pages to `routes`."""

    def __init__(self, role: Role, study: str = "") -> None:
        self.study = study
        """Label of all metrics, as soon as the study is known. Prometheus may be configured to add no such label."""
        self.phase = Phase(ready=always("the process is starting"))
        self.registry = CollectorRegistry()
        self.registry.register(_About(self, role))
        ProcessCollector(registry=self.registry)
        self.prefixes: dict[str, Handler] = {}
        """Handlers of paths that begin so, for which there is no route."""
        self.routes: dict[str, Handler] = {
            names.HTTP_METRICS: self._metrics,
            names.HTTP_HEALTHY: lambda _: _checked(self.phase.healthy),
            names.HTTP_READY: lambda _: _checked(self.phase.ready),
        }

    def enter(self, phase: Phase) -> None:
        """Show this phase from now on. The change is atomic, because other threads read the phase."""
        self.phase = phase

    def _metrics(self, request: Request) -> Response:
        encode, content_type = choose_encoder(request.accept)
        return Response(encode(_OfStudy(self.registry, self.study)), content_type)


@contextmanager
def serving(monitor: Monitor, environment: Mapping[str, str] = os.environ) -> Iterator[Address | None]:
    """Serve the monitor until the end of the block, at the address in the environment.

    Yields the address. Serves nothing and yields None if the environment has no address. Raises ConfigError,
    EnvironmentFailure.
    """
    text = environment.get(names.ENV_HTTP)
    if not text:
        yield None
        return
    with HttpServer(parse_address(text, names.ENV_HTTP), monitor.routes, monitor.prefixes) as server:
        address = server.address
        log.info("metrics and health are served at http://%s%s", address, names.HTTP_METRICS)
        yield address


def in_loop(loop: asyncio.AbstractEventLoop, call: Callable[[], Answer], timeout_s: float = ANSWER_S) -> Answer:
    """Call a function in the thread of an event loop, from another thread, and return the result.

    Raises TimeoutError if the loop does not run the call in time, or if the loop is closed.
    """

    async def answer() -> Answer:
        return call()

    coroutine = answer()
    try:
        return asyncio.run_coroutine_threadsafe(coroutine, loop).result(timeout_s)
    except RuntimeError:  # raised by a closed loop
        coroutine.close()
        raise TimeoutError("the event loop is closed") from None
    except CancelledError:
        raise TimeoutError("the event loop is closed") from None


def loop_check(loop: asyncio.AbstractEventLoop, check: Check) -> Check:
    """Return a check that runs in the thread of an event loop. The check fails if the loop is blocked."""

    def checked() -> str:
        try:
            return in_loop(loop, check)
        except TimeoutError:
            return f"the process has not answered for {ANSWER_S:g} s"

    return checked


def _checked(check: Check) -> Response:
    problem = check()
    return plain(problem, HTTPStatus.SERVICE_UNAVAILABLE) if problem else plain("ok")


class _About(Collector):
    """The program's version and role, its readiness, and its phase's metrics."""

    def __init__(self, monitor: Monitor, role: Role) -> None:
        self._monitor = monitor
        self._role = role

    def describe(self) -> Iterable[Metric]:
        return []

    def collect(self) -> Iterable[Metric]:
        yield reading(catalogue.BUILD, {(tuner.__version__, self._role): 1})
        phase = self._monitor.phase
        yield reading(catalogue.READY, {(self._role,): 0 if phase.ready() else 1})
        yield from phase.metrics()


class _OfStudy(Collector):
    """The metrics of a registry, each with the study's name as a label."""

    def __init__(self, registry: CollectorRegistry, study: str) -> None:
        self._registry = registry
        self._study = study

    def collect(self) -> Iterable[Metric]:
        for metric in self._registry.collect():
            metric.samples = [self._with_study(sample) for sample in metric.samples]
            yield metric

    def _with_study(self, sample: Sample) -> Sample:
        return sample._replace(labels={**sample.labels, LABEL_STUDY: self._study}) if self._study else sample
