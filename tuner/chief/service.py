"""Keras Tuner's gRPC service and the lease service, as the chief serves them.

Everything here runs in one asyncio event loop, the only thread that touches the oracle. What may block (the
bucket, a slow suggestion) runs in threads, and a call that waits for it holds none.
"""

import asyncio
import logging
import re
import time
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

import grpc
import grpc.aio
from google.protobuf.message import DecodeError
from keras_tuner.engine.hyperparameters import HyperParameters
from keras_tuner.src import protos

from tuner import limits, names
from tuner.chief.dispatcher import Dispatcher
from tuner.chief.journal_writer import Journal
from tuner.chief.metrics import ServiceMetrics
from tuner.chief.trial_messages import Messages, Status, bare_trial
from tuner.chief.worker_registry import WorkerRegistry
from tuner.limits import is_name
from tuner.rpc import lease_service
from tuner.search.leases import Worker
from tuner.search.oracle import AttemptClaim, BadReportError, Instant, Oracle, StaleAttemptError, UnknownTrialError
from tuner.search.suggester import Suggester
from tuner.study.records import Ended, Outcome, Record, TrialState, first_line
from tuner.study.state import Trial

log = logging.getLogger(__name__)

LONG_POLL_S = 20.0
"""An IDLE answer is held back for so long: Keras Tuner's own workers ask again at once, as fast as they can."""
BEATS_PER_S = 50
"""Workers send progress every second while they are few; many share this number between them."""

_proto = protos.get_proto()
_service = protos.get_service()


@dataclass
class Service:
    """The two services' methods over one oracle."""

    oracle: Oracle
    suggester: Suggester
    space: HyperParameters
    journal: Journal
    metrics: ServiceMetrics = field(default_factory=ServiceMetrics)

    def __post_init__(self) -> None:
        state = self.oracle.state
        self._messages = Messages(self.space, state.objective)
        self.dispatcher = Dispatcher(
            self.oracle, self.suggester, now, self.journal.append, self.commit, self.metrics.suggesting
        )
        self.workers = WorkerRegistry(self.oracle.at_work(), state.term)
        self.finished = asyncio.Event()
        if self.oracle.state.finished:
            self.finished.set()

    # ---- Keras Tuner's service --------------------------------------------------------------------

    async def GetSpace(self, request: Any, context: Any) -> Any:  # noqa: N802  (gRPC's names)
        """Return the space that the chief found."""
        return self._messages.space()

    async def UpdateSpace(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Accept, and change nothing: the chief has explored the space before the first trial."""
        return _service.UpdateSpaceResponse()

    async def CreateTrial(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Answer with a trial to work on, IDLE after a long wait for one, or STOPPED."""
        worker = Worker(request.tuner_id, _metadata(context).get(names.METADATA_INCARNATION, ""))
        if not is_name(worker.name) or not (worker.stock or is_name(worker.incarnation)):
            await _abort(context, grpc.StatusCode.INVALID_ARGUMENT, "tuner_id or incarnation is empty, or no name")
        await self._room_for(worker.name, context)
        if worker.stock:
            self.workers.register(worker)  # it does not join
        deadline = time.monotonic() + LONG_POLL_S
        while True:
            if self.workers.hear(worker).worker != worker:
                self.dispatcher.wake()  # it may have been this one's turn: let another have it
                text = f"another process has joined as worker {worker.name}, and taken this one's place"
                await _abort(context, grpc.StatusCode.FAILED_PRECONDITION, text)
            trial, records = self.oracle.grant(worker, now())
            if trial is not None:
                durable = self.take(records)  # before anything that may fail: the state has moved already
                message, start = self._message(trial, "RUNNING"), self._start(trial)
                await durable
                log.info(
                    "trial %s: attempt %s goes to %s",
                    trial.trial_id,
                    dict(start)[names.METADATA_ATTEMPT],
                    worker.name,
                )
                context.set_trailing_metadata(start)  # which travels with the answer; initial metadata would not
                return _service.CreateTrialResponse(trial=message)
            await self.commit(records)
            if self.oracle.state.finished:
                self.workers.hear(worker).dismissed = True
                return _service.CreateTrialResponse(trial=bare_trial("STOPPED"))
            left = deadline - time.monotonic()
            if left <= 0:
                return _service.CreateTrialResponse(trial=bare_trial("IDLE"))
            await self.dispatcher.wait(left)

    async def UpdateTrial(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Take the metrics of an epoch; the answer's status is STOPPED where the trial is to be trained no further."""
        attempt = await self._attempt(request.trial_id, context)
        metadata, epoch = _metadata(context), int(request.step)
        checkpoint, sha256 = metadata.get(names.METADATA_CHECKPOINT), metadata.get(names.METADATA_SHA256)
        if checkpoint and not self._is_model_of(checkpoint, attempt, epoch):
            text = f"{checkpoint} is no model of epoch {epoch} of this attempt or one before it"
            await _abort(context, grpc.StatusCode.INVALID_ARGUMENT, text)
        if sha256 and not re.fullmatch("[0-9a-f]{64}", sha256):
            await _abort(context, grpc.StatusCode.INVALID_ARGUMENT, f"{names.METADATA_SHA256} must be 64 hex digits")
        try:
            records = self.oracle.report(attempt, epoch, dict(request.metrics), checkpoint, now(), sha256)
        except BadReportError as error:
            await _abort(context, grpc.StatusCode.INVALID_ARGUMENT, str(error))
        except (StaleAttemptError, UnknownTrialError) as error:
            await _refuse(error, attempt, context)
        self.workers.hear(attempt.worker)
        trial = self.oracle.state.trials[names.TrialId(attempt.trial)]
        status: Status = "RUNNING" if trial.state is TrialState.RUNNING else "STOPPED"
        durable = self.take(records)  # before anything that may fail: the state has moved already
        # Keras Tuner's own workers read all of it, ours the status alone
        message = self._message(trial, status) if attempt.worker.stock else bare_trial(status, trial.trial_id)
        await durable
        return _service.UpdateTrialResponse(trial=message)

    async def EndTrial(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Take the end of a trial; Keras Tuner's own workers also report failures this way."""
        attempt = await self._attempt(request.trial.trial_id, context)
        status = request.trial.status
        try:
            if status in (_proto.TrialStatus.COMPLETED, _proto.TrialStatus.STOPPED):
                records = self.oracle.complete(attempt, now())
            else:
                outcome = Outcome.INVALID if status == _proto.TrialStatus.FAILED else Outcome.FAILED
                records = self.oracle.give_back(attempt, outcome, "the worker says that the trial failed", now())
        except (StaleAttemptError, UnknownTrialError) as error:
            await _refuse(error, attempt, context)
        self.workers.hear(attempt.worker)
        await self.take(records)
        return _service.EndTrialResponse()

    async def GetTrial(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Return a trial with its metrics, under the id by which it was asked for."""
        trial = self.oracle.state.trials.get(names.parse_attempt_id(request.trial_id).trial_id)
        if trial is None:
            await _abort(context, grpc.StatusCode.NOT_FOUND, f"there is no trial {request.trial_id!r}")
        message = self._message(trial)
        message.trial_id = request.trial_id
        return _service.GetTrialResponse(trial=message)

    async def GetBestTrials(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Return the best trials, best first."""
        if not 0 <= request.num_trials <= limits.BEST_TRIALS:
            what = f"num_trials must be from 0 to {limits.BEST_TRIALS}"
            await _abort(context, grpc.StatusCode.INVALID_ARGUMENT, what)
        best = self.oracle.state.best(request.num_trials)
        return _service.GetBestTrialsResponse(trials=[self._message(trial) for trial in best])

    # ---- the lease service ------------------------------------------------------------------------

    async def join(self, request: lease_service.Join, context: Any) -> lease_service.Joined:
        """Take note of a new process of a worker."""
        await self._room_for(request.worker, context)
        worker = self.workers.joins(request.worker, request.incarnation)
        log.info("worker %s joins", worker.name)
        await self.commit(self.oracle.join(worker, now()))
        state = self.oracle.state
        return lease_service.Joined(
            incarnation=worker.incarnation, study=state.settings, data=state.data_digest, direction=state.direction
        )

    async def heartbeat(self, request: lease_service.Heartbeat, context: Any) -> lease_service.Beat:
        """Renew a lease."""
        worker = Worker(request.worker, request.incarnation)
        await self._room_for(worker.name, context)
        seen = self.workers.hear(worker)
        lease_s = self.oracle.state.settings.leases.duration_s
        if seen.worker != worker:
            return lease_service.Beat(held=False, next_s=lease_s / 3)
        seen.beat = request
        # who has no trial has no progress to tell
        next_s = lease_s / 3 if request.trial is None else min(lease_s / 3, max(1.0, len(self.workers) / BEATS_PER_S))
        attempt = AttemptClaim(worker, request.trial or "", request.attempt)
        held = request.trial is None or self.oracle.beat(attempt, now())
        return lease_service.Beat(held=held, next_s=next_s)

    async def give_back(self, request: lease_service.GiveBack, context: Any) -> lease_service.Empty:
        """End an attempt that did not finish its trial."""
        attempt = AttemptClaim(Worker(request.worker, request.incarnation), request.trial, request.attempt)
        try:
            records = self.oracle.give_back(attempt, request.outcome, request.reason, now())
        except (StaleAttemptError, UnknownTrialError) as error:
            await _refuse(error, attempt, context)
        if request.outcome is Outcome.PREEMPTED:
            self.workers.unregister(attempt.worker)
        await self.take(records)
        return lease_service.Empty()

    async def status(self, request: lease_service.Empty, context: Any) -> lease_service.Status:
        """Return what the workers are at."""
        return lease_service.Status(workers=self.workers.status())

    # ---- what both share --------------------------------------------------------------------------

    async def commit(self, records: Sequence[Record]) -> None:
        """Make records durable, then act on them; also ends the search where they were the last.

        A call whose client goes away is cancelled, but what it began happens all the same.
        """
        if records:
            await self.take(records)

    def take(self, records: Sequence[Record]) -> Awaitable[None]:
        """Begin what `commit` does, at once, and return what is to be awaited.

        No records mean that the same was asked before: what was recorded then may still be on its way.
        """
        if not records:
            return asyncio.shield(self.journal.commit([]))
        ended = [record for record in records if isinstance(record, Ended)]
        if ended:
            self.dispatcher.ended(ended)
        done = self.journal.commit([*records, *self.oracle.finish(now())])
        done.add_done_callback(lambda _: self._durable(done, ended))
        return asyncio.shield(done)

    def _durable(self, done: asyncio.Future[None], ended: list[Ended]) -> None:
        if done.cancelled() or done.exception() is not None:
            return  # the journal's failure ends the chief
        for record in ended:
            reason = f", {first_line(record.reason)}" if record.reason else ""
            log.info("trial %s: %s%s", record.trial, record.state, reason)
        if (finished := self.oracle.state.finished) and not self.finished.is_set():
            # one that was given up has the first traceback, which is what a person needs
            log.log(logging.ERROR if finished.failed else logging.INFO, "the search is over: %s", finished.reason)
            self.finished.set()
        self.dispatcher.wake()

    async def _room_for(self, worker: str, context: Any) -> None:
        if self.workers.is_full(worker):
            what = f"{limits.WORKERS} workers are known already; try again later"
            await _abort(context, grpc.StatusCode.RESOURCE_EXHAUSTED, what)

    async def _attempt(self, trial_id: str, context: Any) -> AttemptClaim:
        metadata = _metadata(context)
        number = metadata.get(names.METADATA_ATTEMPT, "")
        try:
            if not metadata.get(names.METADATA_INCARNATION):
                said = names.parse_attempt_id(trial_id)
                return self.oracle.stock_attempt(said.trial_id, said.attempt)
            worker = Worker(metadata.get(names.METADATA_WORKER, ""), metadata[names.METADATA_INCARNATION])
            return AttemptClaim(worker, trial_id, limits.number(number))
        except ValueError:
            await _abort(context, grpc.StatusCode.INVALID_ARGUMENT, f"{names.METADATA_ATTEMPT} must be a number")

    def _is_model_of(self, checkpoint: str, attempt: AttemptClaim, epoch: int) -> bool:
        """Say whether the object is the attempt's, or of one before it, whose work it takes over."""
        said = names.parse_checkpoint(checkpoint)
        if said is None or said.attempt > attempt.number:
            return False
        return checkpoint == names.checkpoint(self.oracle.state.settings.name, attempt.trial, said.attempt, epoch)

    def _message(self, trial: Trial, status: Status | None = None) -> Any:
        return self._messages.trial(trial, status, self._parent(trial))

    def _parent(self, trial: Trial) -> Trial | None:
        """Return the trial whose training this one continues, as hyperband's do."""
        return self.oracle.state.trials.get(names.TrialId(str(trial.hyperparameters.get(names.HP_PARENT))))

    def _start(self, trial: Trial) -> tuple[tuple[str, str], ...]:
        """Return, as metadata, which attempt this is, and the epoch and saved model it goes on from, if any."""
        checkpoint, sha256, epoch = None, None, 0
        parent = self._parent(trial)
        if trial.last_epoch is not None:
            checkpoint, sha256 = trial.checkpoints[trial.last_epoch], trial.sha256.get(trial.last_epoch)
            epoch = trial.last_epoch + 1
        elif parent and parent.best_epoch is not None:  # hyperband trains the best of a rung further
            checkpoint, sha256 = parent.checkpoint, parent.sha256.get(parent.best_epoch)
            epoch = int(trial.hyperparameters[names.HP_INITIAL_EPOCH])
        start = {names.METADATA_ATTEMPT: str(trial.attempts), names.METADATA_EPOCH: str(epoch if checkpoint else 0)}
        more = {names.METADATA_CHECKPOINT: checkpoint, names.METADATA_SHA256: sha256}
        return (*start.items(), *((key, value) for key, value in more.items() if value))


def now() -> Instant:
    """The chief's clock."""
    return Instant(time.time(), time.monotonic())


def _metadata(context: Any) -> dict[str, str]:
    return {key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)}


async def _abort(context: Any, code: grpc.StatusCode, text: str) -> NoReturn:
    await context.abort(code, text)  # raises
    raise AssertionError


async def _refuse(error: Exception, attempt: AttemptClaim, context: Any) -> NoReturn:
    if isinstance(error, UnknownTrialError):
        await _abort(context, grpc.StatusCode.NOT_FOUND, f"there is no trial {attempt.trial!r}")
    await _abort(
        context,
        grpc.StatusCode.FAILED_PRECONDITION,
        f"attempt {attempt.number} at trial {attempt.trial} by {attempt.worker.name} is not the newest; drop it",
    )


def _keras_tuners(service: Service) -> grpc.GenericRpcHandler:
    """Return the handlers of Keras Tuner's service; what is no message of it is answered with INVALID_ARGUMENT.

    The generated code would answer UNKNOWN, as for a failure of our own, and log a traceback.
    """

    def wrap(method: Any) -> Any:
        kind, handle = getattr(_service, method.input_type.name), getattr(service, method.name)

        async def call(data: bytes, context: Any) -> bytes:
            try:
                request = kind.FromString(data)
            except DecodeError:
                await _abort(context, grpc.StatusCode.INVALID_ARGUMENT, f"not a valid {method.name} request")
            answer: bytes = (await handle(request, context)).SerializeToString()
            return answer

        return grpc.unary_unary_rpc_method_handler(service.metrics.timed(method.name, call))

    oracle = _service.DESCRIPTOR.services_by_name["Oracle"]
    return grpc.method_handlers_generic_handler(oracle.full_name, {m.name: wrap(m) for m in oracle.methods})


def make_server(service: Service) -> grpc.aio.Server:
    """Return a server of both services, without a port yet."""
    server = grpc.aio.server(options=lease_service.SERVER_OPTIONS, maximum_concurrent_rpcs=limits.CALLS)
    server.add_generic_rpc_handlers(
        (
            _keras_tuners(service),
            lease_service.handlers(
                {
                    "Join": service.join,
                    "Heartbeat": service.heartbeat,
                    "GiveBack": service.give_back,
                    "Status": service.status,
                },
                service.metrics.timed,
            ),
        )
    )
    return server
