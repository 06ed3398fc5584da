"""The chief's side of Keras Tuner's gRPC service and of the lease service.

Everything here runs in one asyncio event loop, whose thread is the only one that uses the oracle. Work that may block
(the bucket, a slow suggestion) runs in other threads, and a call that waits for such work occupies no thread.
"""

import asyncio
import logging
import re
import time
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field
from typing import Any

import grpc
import grpc.aio
from keras_tuner.engine.hyperparameters import HyperParameters
from keras_tuner.src import protos

from tuner import limits, names
from tuner.chief.clock import now
from tuner.chief.dispatcher import Dispatcher
from tuner.chief.journal_writer import JournalWriter
from tuner.chief.metrics import ServiceMetrics
from tuner.chief.refusals import abort, refuse
from tuner.chief.service_snapshot import ServiceSnapshot
from tuner.chief.stock_spaces import StockSpaces
from tuner.chief.trial_messages import Messages, Status, bare_trial, start_metadata
from tuner.chief.worker_deaths import WorkerDeaths
from tuner.chief.worker_registry import WorkerRegistry
from tuner.config.settings import Study
from tuner.limits import is_name
from tuner.rpc import lease_service
from tuner.search.claims import (
    AttemptClaim,
    BadReportError,
    StaleAttemptError,
    UnknownTrialError,
    stock_attempt,
)
from tuner.search.leases import Worker
from tuner.search.oracle import Oracle
from tuner.search.suggester import Suggester, observations
from tuner.study.evidence import Evidence
from tuner.study.needed_format import worker_format
from tuner.study.records import AttemptEnded, Ended, Outcome, Paused, Record, TrialState, Withdrawn, first_line
from tuner.study.state import StudyState
from tuner.study.trial import Trial

log = logging.getLogger(__name__)

LONG_POLL_S = 20.0
"""Seconds for which an IDLE answer is delayed, because Keras Tuner's own workers repeat the call immediately."""
BEATS_PER_S = 50
"""Intended number of heartbeats per second from all workers together. Each worker sends at most one per second."""

_proto = protos.get_proto()
_service = protos.get_service()


@dataclass
class Service:
    """The methods of both services, for one oracle."""

    oracle: Oracle
    suggester: Suggester
    space: HyperParameters
    journal: JournalWriter
    metrics: ServiceMetrics = field(default_factory=ServiceMetrics)
    deaths: WorkerDeaths = field(default_factory=WorkerDeaths)
    spare: int | None = None
    """Number of idle workers that stay when no more trials can start; None if all stay."""

    def __post_init__(self) -> None:
        self._messages = Messages(self.space, self.state.objective)
        self._stock_spaces = StockSpaces(hyperparameter.name for hyperparameter in self.space.space)
        self.dispatcher = Dispatcher(
            self.oracle, self.suggester, now, self.journal.append, self.commit, self.metrics.suggesting, self.spare
        )
        self.workers = WorkerRegistry(self.oracle.at_work(), self.state.term)
        self.finished = asyncio.Event()
        if self.state.finished:
            self.finished.set()

    @property
    def state(self) -> StudyState:
        """The study's state, which calls may change."""
        return self.oracle.state

    @property
    def study(self) -> Study:
        """The study's settings."""
        return self.state.settings

    def snapshot(self) -> ServiceSnapshot:
        """Return what the services are doing now. Must be called in the services' event loop."""
        busy = {worker.name for worker in self.oracle.at_work()}
        return ServiceSnapshot(
            workers=tuple(self.workers.status()),
            worker_states=self.workers.states(busy, self.study.leases),
            leases=self.oracle.leases,
            waiting_workers=self.dispatcher.waiting,
            segments=self.journal.segments,
            journal_waiting_s=self.journal.waiting_s(),
        )

    # ---- Keras Tuner's service --------------------------------------------------------------------

    async def GetSpace(self, request: Any, context: Any) -> Any:  # noqa: N802  (gRPC's names)
        """Return the space."""
        return self._messages.space()

    async def UpdateSpace(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Refuse hyperparameters that the chief does not know. It explored the space before the first trial."""
        if refusal := self._stock_spaces.refusal(request.hyperparameters):
            await abort(context, grpc.StatusCode.INVALID_ARGUMENT, refusal)
        return _service.UpdateSpaceResponse()

    async def CreateTrial(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Return a trial to train, IDLE if there is none for LONG_POLL_S, or STOPPED if none is left for the worker."""
        worker = Worker(request.tuner_id, _metadata(context).get(names.METADATA_INCARNATION, ""))
        if not is_name(worker.name) or not (worker.stock or is_name(worker.incarnation)):
            await abort(
                context,
                grpc.StatusCode.INVALID_ARGUMENT,
                f"tuner_id and incarnation must be 1 to {limits.NAME_CHARACTERS} printable characters",
            )
        await self._check_room(worker.name, context)
        if worker.stock:
            self.workers.register(worker)  # such a worker does not call Join
        deadline, is_dismissed = time.monotonic() + LONG_POLL_S, False
        while True:
            entry = self.workers.record_call(worker)
            if entry.worker != worker:
                self.dispatcher.wake()  # this process may have been woken for a trial, so wake another
                text = f"another process has joined as worker {worker.name} and replaced this one"
                await abort(context, grpc.StatusCode.FAILED_PRECONDITION, text)
            trial, records = self.oracle.grant(worker, now())
            if trial is not None:
                durable = self.take(records)  # before anything that may fail, because the state has already changed
                message, start = self._message(trial, "RUNNING"), start_metadata(trial, self._parent(trial))
                await durable
                log.info(
                    "trial %s: attempt %s is assigned to %s",
                    trial.trial_id,
                    dict(start)[names.METADATA_ATTEMPT],
                    worker.name,
                )
                context.set_trailing_metadata(start)  # sent with the answer, unlike initial metadata
                return _service.CreateTrialResponse(trial=message)
            await self.commit(records)
            # a dismissed worker that asks again has not received the answer
            entry.dismissed = self.state.finished is not None or is_dismissed
            if entry.dismissed:
                if not self.state.finished:
                    log.info("worker %s leaves, because no trial is left for it", worker.name)
                    context.set_trailing_metadata(((names.METADATA_DISMISSED, "yes"),))
                return _service.CreateTrialResponse(trial=bare_trial("STOPPED"))
            remaining_s = deadline - time.monotonic()
            if remaining_s <= 0:
                return _service.CreateTrialResponse(trial=bare_trial("IDLE"))
            is_dismissed = await self.dispatcher.wait(remaining_s, worker.stock)

    async def UpdateTrial(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Record the metrics of an epoch. The answer's status is STOPPED if the trial must not be trained further."""
        attempt = await self._attempt(request.trial_id, context)
        metadata, epoch = _metadata(context), int(request.step)
        checkpoint, sha256 = metadata.get(names.METADATA_CHECKPOINT), metadata.get(names.METADATA_SHA256)
        if checkpoint and not self._is_model_of(checkpoint, attempt, epoch):
            text = f"{checkpoint} is not a model of epoch {epoch} of this attempt or an earlier one"
            await abort(context, grpc.StatusCode.INVALID_ARGUMENT, text)
        if sha256 and not re.fullmatch("[0-9a-f]{64}", sha256):
            await abort(
                context,
                grpc.StatusCode.INVALID_ARGUMENT,
                f"{names.METADATA_SHA256} must be 64 lowercase hexadecimal digits",
            )
        try:
            evidence = Evidence.from_metadata(metadata)
            start_s = limits.seconds(metadata.get(names.METADATA_START_S, ""))
            records = self.oracle.report(
                attempt, epoch, dict(request.metrics), checkpoint, now(), sha256, evidence, start_s
            )
        except BadReportError as error:
            await abort(context, grpc.StatusCode.INVALID_ARGUMENT, str(error))
        except (StaleAttemptError, UnknownTrialError) as error:
            await refuse(error, attempt, context)
        self.workers.record_call(attempt.worker)
        trial = self.state.trials[names.TrialId(attempt.trial)]
        status: Status = "RUNNING" if trial.state is TrialState.RUNNING else "STOPPED"
        durable = self.take(records)  # before anything that may fail, because the state has already changed
        # Keras Tuner's own workers read the whole message; cifake-tune's workers read only the status
        message = self._message(trial, status) if attempt.worker.stock else bare_trial(status, trial.trial_id)
        if trial.state in (TrialState.PAUSED, TrialState.QUEUED):
            context.set_trailing_metadata(((names.METADATA_PAUSED, "yes"),))
        await durable
        return _service.UpdateTrialResponse(trial=message)

    async def EndTrial(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Record the end of a trial. Stock workers also report failures this way, and their space is checked."""
        attempt = await self._attempt(request.trial.trial_id, context)
        status = request.trial.status
        refusal = self._stock_spaces.refusal(request.trial.hyperparameters) if attempt.worker.stock else ""
        try:
            if refusal:
                records = self.oracle.give_back(attempt, Outcome.LOST, refusal, now())
            elif status in (_proto.TrialStatus.COMPLETED, _proto.TrialStatus.STOPPED):
                records = self.oracle.complete(attempt, now())
            else:
                outcome = Outcome.INVALID if status == _proto.TrialStatus.FAILED else Outcome.FAILED
                records = self.oracle.give_back(attempt, outcome, "the worker reported that the trial failed", now())
        except (StaleAttemptError, UnknownTrialError) as error:
            await refuse(error, attempt, context)
        self.workers.record_call(attempt.worker)
        await self.take(records)
        if refusal:
            log.error("trial %s of %s does not count: %s", request.trial.trial_id, attempt.worker.name, refusal)
            await abort(context, grpc.StatusCode.INVALID_ARGUMENT, refusal)
        return _service.EndTrialResponse()

    async def GetTrial(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Return a trial with its metrics. The answer contains the same id as the request."""
        trial = self.state.trials.get(names.parse_attempt_id(request.trial_id).trial_id)
        if trial is None:
            await abort(context, grpc.StatusCode.NOT_FOUND, f"there is no trial {request.trial_id!r}")
        message = self._message(trial)
        message.trial_id = request.trial_id
        return _service.GetTrialResponse(trial=message)

    async def GetBestTrials(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Return the best trials with a score, the best first. The model of a stock worker is not in the bucket."""
        if not 0 <= request.num_trials <= limits.BEST_TRIALS:
            text = f"num_trials must be from 0 to {limits.BEST_TRIALS}, got {request.num_trials}"
            await abort(context, grpc.StatusCode.INVALID_ARGUMENT, text)
        best = self.state.ranking()[: request.num_trials]
        return _service.GetBestTrialsResponse(trials=[self._message(trial) for trial in best])

    # ---- the lease service ------------------------------------------------------------------------

    async def join(self, request: lease_service.Join, context: Any) -> lease_service.Joined:
        """Register a new process of a worker."""
        await self._check_room(request.worker, context)
        earlier = [worker for worker in self.oracle.at_work() if worker.name == request.worker]
        killed = await self.deaths.out_of_memory(earlier, self.workers)
        worker = self.workers.join(request.worker, request.incarnation, request.pod)
        log.info("worker %s has joined", worker.name)
        await self.commit(self.oracle.join(worker, now(), killed))
        return lease_service.Joined(
            format=worker_format(self.study, self.state.space_version),
            incarnation=worker.incarnation,
            study=self.study,
            data=self.state.data_digest,
            direction=self.state.direction,
        )

    async def heartbeat(self, request: lease_service.Heartbeat, context: Any) -> lease_service.Beat:
        """Renew the lease of a worker, and record the worker's progress."""
        worker = Worker(request.worker, request.incarnation)
        await self._check_room(worker.name, context)
        entry = self.workers.record_call(worker)
        lease_s = self.study.leases.duration_s
        if entry.worker != worker:
            return lease_service.Beat(held=False, next_s=lease_s / 3)
        entry.heartbeat, entry.pod = request, request.pod
        # a worker without a trial has no progress to report
        next_s = lease_s / 3 if request.trial is None else min(lease_s / 3, max(1.0, len(self.workers) / BEATS_PER_S))
        attempt = AttemptClaim(worker, request.trial or "", request.attempt)
        is_held = request.trial is None or self.oracle.beat(attempt, now())
        return lease_service.Beat(held=is_held, next_s=next_s)

    async def give_back(self, request: lease_service.GiveBack, context: Any) -> lease_service.Empty:
        """End an attempt that did not finish its trial."""
        attempt = AttemptClaim(Worker(request.worker, request.incarnation), request.trial, request.attempt)
        try:
            records = self.oracle.give_back(
                attempt, request.cause, request.reason, now(), request.failing_s or 0.0, request.scope
            )
        except (StaleAttemptError, UnknownTrialError) as error:
            await refuse(error, attempt, context)
        if request.cause in (Outcome.PREEMPTED, Outcome.ENVIRONMENT):
            self.workers.unregister(attempt.worker)  # its process ends
        await self.take(records, request.worker)
        return lease_service.Empty()

    async def status(self, request: lease_service.Empty, context: Any) -> lease_service.Status:
        """Return what the workers are doing."""
        return lease_service.Status(workers=self.workers.status(), wanted=self.dispatcher.wanted_workers)

    # ---- both services --------------------------------------------------------------------------

    async def commit(self, records: Sequence[Record]) -> None:
        """Make records durable, then act on them. End the search if these records end its last trial.

        If the client disconnects, the call is cancelled, but its records are committed.
        """
        if records:
            await self.take(records)

    async def expire(self) -> None:
        """End the attempts whose leases have expired."""
        instant = now()
        killed = await self.deaths.out_of_memory(self.oracle.expired(instant), self.workers)
        await self.commit(self.oracle.expire(instant, killed))
        if self.state.outage and not self.oracle.is_paused(instant):
            self.dispatcher.wake()  # for a probe

    def take(self, records: Sequence[Record], worker: str = "") -> Awaitable[None]:
        """Start to commit records, and return a future that completes when they are durable.

        A call without records repeats an earlier call. The future then waits for the records of that call. `worker` is
        the name of the worker that has returned its trial, whose reason need not name it.
        """
        if not records:
            return asyncio.shield(self.journal.commit([]))
        if observed := observations(self.state, records):
            self.dispatcher.observe(observed)
        ended = [record for record in records if isinstance(record, Ended | Paused | Withdrawn)]
        returned = [(record, worker) for record in records if isinstance(record, AttemptEnded)]
        if searched := [record for record in ended if self.state.trials[record.trial].repeats is None]:
            self.dispatcher.ended(searched)
        done = self.journal.commit([*records, *self.oracle.finish(now())])
        done.add_done_callback(lambda _: self._durable(done, ended, returned))
        return asyncio.shield(done)

    def _durable(
        self,
        done: asyncio.Future[None],
        ended: list[Ended | Paused | Withdrawn],
        returned: list[tuple[AttemptEnded, str]],
    ) -> None:
        if done.cancelled() or done.exception() is not None:
            return  # the journal's failure ends the chief
        for attempt, worker in returned:
            of_worker = f" of {worker}" if worker else ""
            text = f"attempt {attempt.attempt}{of_worker} ended, {attempt.cause}: {first_line(attempt.reason)}"
            level = logging.WARNING if attempt.cause is Outcome.ENVIRONMENT else logging.INFO
            log.log(level, "trial %s: %s", attempt.trial, text)
        for record in ended:
            reason = f", {first_line(record.reason)}" if record.reason else ""
            log.info("trial %s: %s%s", record.trial, record.state, reason)
        if (finished := self.state.finished) and not self.finished.is_set():
            # if the search gave up, the reason contains the first traceback, which the user needs
            log.log(logging.ERROR if finished.failed else logging.INFO, "the search has finished: %s", finished.reason)
            self.finished.set()
        self.dispatcher.wake()

    async def _check_room(self, worker: str, context: Any) -> None:
        if self.workers.is_full(worker):
            text = f"{limits.WORKERS} workers are already registered, which is the maximum. Try again later."
            await abort(context, grpc.StatusCode.RESOURCE_EXHAUSTED, text)

    async def _attempt(self, trial_id: str, context: Any) -> AttemptClaim:
        metadata = _metadata(context)
        number = metadata.get(names.METADATA_ATTEMPT, "")
        try:
            if not metadata.get(names.METADATA_INCARNATION):
                attempt_id = names.parse_attempt_id(trial_id)
                return stock_attempt(attempt_id.trial_id, attempt_id.attempt, self.state.trials)
            worker = Worker(metadata.get(names.METADATA_WORKER, ""), metadata[names.METADATA_INCARNATION])
            return AttemptClaim(worker, trial_id, limits.number(number))
        except ValueError:
            await abort(
                context,
                grpc.StatusCode.INVALID_ARGUMENT,
                f"{names.METADATA_ATTEMPT} must be a number below {limits.NUMBER}",
            )

    def _is_model_of(self, checkpoint: str, attempt: AttemptClaim, epoch: int) -> bool:
        """Return whether the object is this epoch's model, from this attempt or an earlier attempt at the trial."""
        model = names.parse_checkpoint(checkpoint)
        if model is None or model.attempt > attempt.number:
            return False
        return checkpoint == names.checkpoint(self.study.name, attempt.trial, model.attempt, epoch)

    def _message(self, trial: Trial, status: Status | None = None) -> Any:
        return self._messages.trial(trial, status, self._parent(trial))

    def _parent(self, trial: Trial) -> Trial | None:
        """Return the trial whose training this one continues, if any (Hyperband)."""
        return self.state.trials.get(names.TrialId(str(trial.hyperparameters.get(names.HP_PARENT))))


def _metadata(context: Any) -> dict[str, str]:
    return {key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)}
