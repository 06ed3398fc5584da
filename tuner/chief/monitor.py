"""What a chief shows of its study: at a scrape, and when it is asked whether it is ready."""

import asyncio
import logging
import signal
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING

from prometheus_client.metrics_core import Metric
from pydantic import ValidationError

from tuner.bucket import Bucket
from tuner.chief.evaluation_job import run_evaluation
from tuner.chief.metrics import EvaluationWatch, JournalMetrics, ServiceMetrics, study_metrics
from tuner.errors import NoResultError
from tuner.live_page.live_state import LiveState
from tuner.live_page.routes import LivePage
from tuner.monitoring import catalogue
from tuner.monitoring.catalogue import Readings, reading
from tuner.monitoring.endpoint import FINE, Monitor, in_loop, loop_check
from tuner.monitoring.measured_bucket import MeasuredBucket
from tuner.study.progress import Eta, epochs_done
from tuner.study.snapshots import frozen_copy
from tuner.study.state import StudyState
from tuner.study.status import EvaluationState, WorkerState

if TYPE_CHECKING:  # it imports Keras, which `run` does without
    from tuner.chief.service import Service

if TYPE_CHECKING:  # it imports Keras, which `run` does without
    from tuner.chief.service import Service

log = logging.getLogger(__name__)


class ChiefMonitor:
    """A chief's metrics and health, from its first moment to its last."""

    def __init__(self, bucket: Bucket, study: str, monitor: Monitor) -> None:
        self.service_metrics = ServiceMetrics(monitor.registry)
        self.journal_metrics = JournalMetrics(monitor.registry)
        self.bucket = MeasuredBucket(bucket, monitor.registry)
        self._study = study
        self._monitor = monitor
        self._evaluation = EvaluationWatch()
        self._site = LivePage(bucket.url)
        monitor.routes.update(self._site.routes())
        self._began = time.time()
        self._readings = Readings()
        self._readings.read = lambda: [reading(catalogue.JOURNAL_WAITING, {(): self.bucket.waiting_s()})]
        monitor.registry.register(self._readings)
        monitor.study, monitor.ready = study, lambda: "it waits for the data, or recovers the study"

    def serving(self, service: "Service") -> None:
        """From now on show what the services are at, in whose event loop this is called."""
        loop, lookout = asyncio.get_running_loop(), LiveStateSource(service, self._evaluation)
        self._site.latest.take = lambda: in_loop(loop, lookout.take)
        self._readings.read = lambda: in_loop(
            loop, lambda: [*service_metrics(service), *_left(lookout.remaining_s()), *self._own()]
        )
        self._monitor.ready = loop_check(loop, service.journal.problem)
        self._monitor.healthy = loop_check(loop, lambda: FINE)

    def over(self, state: StudyState) -> None:
        """From now on show a state that changes no more; nobody is served."""
        self._readings.read = lambda: [*study_metrics(state), *self._own()]
        self._site.latest.take = lambda: self._last(state)
        self._monitor.ready, self._monitor.healthy = lambda: "the search is over", lambda: FINE

    def _own(self) -> list[Metric]:
        """Return what is shown of a study that is recovered beside its state."""
        return [reading(catalogue.CHIEF_STARTED, {(): self._began}), *self._evaluation.metrics()]

    def _last(self, state: StudyState) -> LiveState:
        return LiveState(time.time(), state, self._evaluation.state, self._evaluation.result)

    async def farewell(self) -> None:
        """Let a page that is open hear how the search ended."""
        await self._site.latest.farewell()

    async def evaluate(self, job_name: str) -> None:
        """Have the best model evaluated, and take the result. Raises what `run_evaluation` raises, and BucketError."""
        self.evaluating()
        try:
            await run_evaluation(job_name)
        except NoResultError:
            self.not_evaluated()
            raise
        await asyncio.to_thread(self.evaluated)

    def evaluating(self) -> None:
        """From now on show that the best model is being evaluated."""
        self._evaluation.state = EvaluationState.RUNNING

    def not_evaluated(self) -> None:
        """From now on show that the evaluation failed."""
        self._evaluation.state = EvaluationState.FAILED

    def evaluated(self) -> None:
        """Take the evaluation's result from the bucket. Raises BucketError."""
        try:
            self._evaluation.done(self.bucket, self._study)
        except ValidationError as error:  # another version's
            log.warning("the evaluation's result cannot be understood (%s)", error.errors()[0]["msg"])


def _left(seconds: float | None) -> list[Metric]:
    return [] if seconds is None else [reading(catalogue.SEARCH_LEFT, {(): seconds})]


def linger(seconds: float) -> None:
    """Stay for so long, so that what is shown last is scraped; whoever asks us to stop has waited for long enough."""
    if not seconds:
        return
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    log.info("all is over; the metrics are shown for %g s more", seconds)
    stop.wait(seconds)


def service_metrics(service: "Service") -> list[Metric]:
    """Return the study's state and what the services are at; to be called in their event loop."""
    state, journal = service.oracle.state, service.journal
    at_work = {worker.name for worker in service.oracle.at_work()}
    states = service.workers.states(at_work, state.settings.leases)
    workers = Counter(states.values())
    heard = [worker for worker in service.workers.status() if states[worker.worker] is not WorkerState.SILENT]
    images_per_s = sum(worker.images_per_s for worker in heard)
    return [
        *study_metrics(state),
        reading(catalogue.LEASES, {(): service.oracle.leases}),
        reading(catalogue.WORKERS, {(each.value,): workers[each] for each in WorkerState}),
        reading(catalogue.WORKERS_WAITING, {(): service.dispatcher.waiting}),
        reading(catalogue.IMAGES_RATE, {(): images_per_s}),
        reading(catalogue.SEGMENTS, {(): journal.segments}),
        reading(catalogue.JOURNAL_WAITING, {(): journal.waiting_s()}),
    ]


class LiveStateSource:
    """Takes moments of a chief that serves."""

    def __init__(self, service: "Service", evaluation: EvaluationWatch) -> None:
        self._service = service
        self._evaluation = evaluation
        self._eta = Eta(time.monotonic(), epochs_done(service.oracle.state, service.workers.status()))

    def take(self) -> LiveState:
        """Return the present one; to be called in the event loop that moves the state."""
        state, workers = self._service.oracle.state, self._service.workers.status()
        at_work = {worker.name for worker in self._service.oracle.at_work()}
        return LiveState(
            at=time.time(),
            state=frozen_copy(state),
            evaluation=self._evaluation.state,
            result=self._evaluation.result,
            workers=tuple(workers),
            worker_states=self._service.workers.states(at_work, state.settings.leases),
            remaining_s=self.remaining_s(),
        )

    def remaining_s(self) -> float | None:
        """Return the seconds until the search is over, as far as they can be known; to be called in the same loop."""
        state, workers = self._service.oracle.state, self._service.workers.status()
        return None if state.finished else self._eta.remaining_s(state, workers)
