"""What a chief shows to others: the metrics of its study, its health and readiness, and the live page."""

import asyncio
import logging
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prometheus_client.metrics_core import Metric
from pydantic import ValidationError

from tuner import names
from tuner.bucket import Bucket
from tuner.chief.evaluation_job import run_evaluation
from tuner.chief.metrics import JournalMetrics, ServiceMetrics, evaluation_metrics, study_metrics
from tuner.errors import NewerFormatError, NoResultError
from tuner.evaluation.result_files import problem_of
from tuner.live_page.live_state import LiveState
from tuner.live_page.routes import LivePage
from tuner.monitoring import catalogue
from tuner.monitoring.catalogue import reading
from tuner.monitoring.endpoint import Monitor, Phase, always, fine, in_loop, loop_check
from tuner.monitoring.measured_bucket import MeasuredBucket
from tuner.study.progress import Eta, epochs_done
from tuner.study.snapshots import frozen_copy
from tuner.study.state import StudyState
from tuner.study.status import EvaluationState, EvaluationStatus, EvaluationSummary, WorkerState, WorkerStatus

if TYPE_CHECKING:  # it imports Keras, which `run` does not need
    from tuner.chief.service import Service
    from tuner.chief.service_snapshot import ServiceSnapshot

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ChiefPhase(Phase):
    """What a chief shows in one phase of its life: recovering the study, serving its workers, or finished."""

    live_state: Callable[[], LiveState | None] = lambda: None
    """Returns what the live page shows; None while there is nothing to show. Raises TimeoutError."""


class ChiefMonitor:
    """A chief's metrics, health and live page, from the start of its process to the end."""

    def __init__(self, bucket: Bucket, study: str, monitor: Monitor) -> None:
        self.service_metrics = ServiceMetrics(monitor.registry)
        self.journal_metrics = JournalMetrics(monitor.registry)
        self.bucket = MeasuredBucket(bucket, monitor.registry)
        self._study = study
        self._started = time.time()
        self._evaluation = EvaluationStatus()
        self.page = LivePage(bucket.url, self._live_state)
        """The live page, for `tuner.live_page.serving`."""
        self._monitor = monitor
        monitor.study = study
        self._enter(
            ChiefPhase(
                ready=always("the chief is waiting for the data or recovering the study"),
                metrics=lambda: [reading(catalogue.JOURNAL_WAITING, {(): self.bucket.waiting_s()})],
            )
        )

    def show_serving(self, service: "Service") -> None:
        """Enter the phase in which the chief serves its workers. Must be called in the services' event loop."""
        loop, state = asyncio.get_running_loop(), service.state
        eta = Eta(time.monotonic(), epochs_done(state, service.workers.status()), state.time.paused_s)

        def metrics() -> list[Metric]:
            snapshot = service.snapshot()
            remaining_s = _remaining_s(state, snapshot.workers, eta)
            left = [] if remaining_s is None else [reading(catalogue.SEARCH_LEFT, {(): remaining_s})]
            return [*service_metrics(state, snapshot), *left, *self._own_metrics()]

        def live_state() -> LiveState:
            snapshot = service.snapshot()
            return LiveState(
                at=time.time(),
                state=frozen_copy(state),
                evaluation=self._evaluation.state,
                result=self._evaluation.result,
                workers=snapshot.workers,
                worker_states=snapshot.worker_states,
                remaining_s=_remaining_s(state, snapshot.workers, eta),
            )

        self._enter(
            ChiefPhase(
                ready=loop_check(loop, service.journal.problem),
                healthy=loop_check(loop, fine),
                metrics=lambda: in_loop(loop, metrics),
                live_state=lambda: in_loop(loop, live_state),
            )
        )

    def show_finished(self, state: StudyState) -> None:
        """Enter the phase after the search, in which the state no longer changes and no worker is served."""
        self._enter(
            ChiefPhase(
                ready=always("the search has finished"),
                metrics=lambda: [*study_metrics(state), *self._own_metrics()],
                live_state=lambda: LiveState(time.time(), state, self._evaluation.state, self._evaluation.result),
            )
        )

    def _enter(self, phase: ChiefPhase) -> None:
        self._phase = phase
        self._monitor.enter(phase)

    def _live_state(self) -> LiveState | None:
        return self._phase.live_state()

    def _own_metrics(self) -> Iterable[Metric]:
        """Return the metrics of a chief that has recovered its study, apart from those of the study's state."""
        yield reading(catalogue.CHIEF_STARTED, {(): self._started})
        yield from evaluation_metrics(self._evaluation)

    def show_problem(self, problem: str) -> None:
        """Show on the live page why the chief ends, because the last state does not tell."""
        self.page.problem = problem

    async def drain_page(self) -> None:
        """Wait until all open pages have shown how the search or the chief ended."""
        await self.page.latest.drain()

    async def evaluate(self, job_name: str) -> None:
        """Run the evaluation's Job, and read the result. Raises the errors of `run_evaluation`, and BucketError."""
        self.evaluation_started()
        try:
            await run_evaluation(job_name)
        except NoResultError:
            self.evaluation_failed()
            raise
        await asyncio.to_thread(self.evaluation_done)

    def evaluation_started(self) -> None:
        """Show that the best model is being evaluated."""
        self._evaluation = EvaluationStatus(EvaluationState.RUNNING)

    def evaluation_failed(self) -> None:
        """Show that the evaluation failed."""
        self._evaluation = EvaluationStatus(EvaluationState.FAILED)

    def evaluation_done(self) -> None:
        """Show the evaluation's result, read from the bucket. Raises BucketError."""
        data = self.bucket.read(names.evaluation(self._study, names.METRICS_JSON))
        result = None
        try:
            result = EvaluationSummary.model_validate_json(data)
        except ValidationError as error:
            log.warning(
                "%s is damaged (%s), so the live page and the metrics do not show the evaluation's result",
                names.evaluation(self._study, names.METRICS_JSON),
                problem_of(error),
            )
        except NewerFormatError as error:
            log.warning("the evaluation's result %s", error)
        self._evaluation = EvaluationStatus(EvaluationState.DONE, result)


def linger(seconds: float) -> None:
    """Keep the process running so that its last metrics can be scraped, but return at once on SIGTERM or Ctrl-C."""
    if not seconds:
        return
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    log.info("the chief has finished; its metrics can be scraped for another %g s", seconds)
    stop.wait(seconds)


def service_metrics(state: StudyState, snapshot: "ServiceSnapshot") -> list[Metric]:
    """Return the metrics of a study and of the services that its chief offers."""
    counts = Counter(snapshot.worker_states.values())
    return [
        *study_metrics(state),
        reading(catalogue.LEASES, {(): snapshot.leases}),
        reading(catalogue.WORKERS, {(name.value,): counts[name] for name in WorkerState}),
        reading(catalogue.WORKERS_BLOCKED, {(): sum(bool(worker.problem) for worker in snapshot.workers)}),
        reading(catalogue.WORKERS_WAITING, {(): snapshot.waiting_workers}),
        reading(catalogue.IMAGES_RATE, {(): snapshot.images_per_s}),
        reading(catalogue.SEGMENTS, {(): snapshot.segments}),
        reading(catalogue.JOURNAL_WAITING, {(): snapshot.journal_waiting_s}),
    ]


def _remaining_s(state: StudyState, workers: Sequence[WorkerStatus], eta: Eta) -> float | None:
    """Return the seconds until the search has finished; None if they cannot be estimated."""
    return None if state.finished else eta.remaining_s(state, workers)
