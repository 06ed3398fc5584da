"""A worker's client of the chief, which retries failed calls."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, TypeVar

import grpc
from keras_tuner.engine.trial import Trial as KerasTrial
from keras_tuner.src import protos
from pydantic import ValidationError

import tuner
from tuner import names
from tuner.errors import (
    ChiefUnreachableError,
    CifakeTuneError,
    FencedError,
    IncompatibleVersionError,
    NewerFormatError,
    UsageError,
)
from tuner.rpc import lease_service
from tuner.rpc.program_version import require_compatible
from tuner.study.evidence import NO_EVIDENCE, Evidence
from tuner.study.records import FaultScope, Outcome
from tuner.worker.call_errors import (
    TRANSIENT,
    FencedAttemptError,
    SearchOverError,
    cause,
    incompatible_version,
    raise_unless_transient,
)
from tuner.worker.chief_outage import ChiefOutage
from tuner.worker.join_problem import JoinProblem

CALL_TIMEOUT_S = 30.0
CREATE_TIMEOUT_S = 60.0
"""Longer than the chief delays its answer while no trial is available (long poll)."""

TIMEOUT_S = 300.0
"""Seconds for which a worker calls before it has joined. Afterwards, the study's `leases.chief_timeout_s` applies."""
LOOK_UP_S = 5.0
"""Seconds between two reads of the journal, which shows whether the search has finished while the chief is unreachable.
"""
GIVE_BACK_S = 4.0
POLL_S = 0.2

_service = protos.get_service()
_NEVER = threading.Event()
Answer = TypeVar("Answer")


class Verdict(Enum):
    """Why a trial must not be trained further."""

    STOPPED = auto()  # it is worse than others
    PAUSED = auto()  # it may continue later, as another attempt


@dataclass(frozen=True)
class Grant:
    """A leased trial, and the epoch and checkpoint to resume from."""

    trial: KerasTrial
    attempt: int
    first_epoch: int
    checkpoint: str | None
    sha256: str | None = None
    """SHA-256 of the checkpoint, as it was reported."""

    @property
    def trial_id(self) -> str:
        """The trial's id."""
        return str(self.trial.trial_id)


class ChiefClient:
    """Client of the chief's two services. Each call is repeated while the chief is unreachable.

    All methods raise ChiefUnreachableError after `timeout_s`, EnvironmentFailure for an unexpected answer, and
    UsageError if the chief has ended for good, or if the versions of chief and worker, or of their messages' formats,
    differ too much.
    `connection_problem` returns the reason why the chief is unreachable if a user must fix it, else None. `outage` logs
    that the chief is unreachable.
    """

    def __init__(
        self,
        channel: grpc.Channel,
        address: str,
        worker: str,
        incarnation: str,
        connection_problem: Callable[[], CifakeTuneError | None],
        outage: ChiefOutage | None = None,
    ) -> None:
        self.timeout_s = TIMEOUT_S
        self.is_finished: Callable[[], bool] = lambda: False
        """Return whether the journal says that the search has finished. Called while the chief is unreachable: a chief
        waits only for workers that called recently before it ends, so a suspended worker may find no chief later."""
        self.chief_error: Callable[[], UsageError | None] = lambda: None
        """Return an error if the chief has ended for good (`ChiefAbsence`). Called while the chief is unreachable."""
        self.late_error: Callable[[], UsageError | None] = lambda: None
        """Return an error to raise instead of ChiefUnreachableError (`ChiefAbsence`)."""
        self.was_dismissed = False
        """Whether the chief has answered that no trial is left for this worker, although the search continues."""
        self.pod = ""
        """Name of this worker's pod. Empty outside Kubernetes."""
        self._looked_up_at = 0.0
        self._connection_problem = connection_problem
        self._outage = outage or ChiefOutage(address)
        self._joined = False
        self._failing_since: float | None = None
        self._join_problem = JoinProblem()
        self._incompatible: UsageError | None = None
        """Error to raise because a chief of a version that differs too much has answered a heartbeat."""
        self.worker = worker
        self.incarnation = incarnation
        self._address = address
        self._leases = lease_service.LeaseStub(channel)
        self._oracle = protos.get_service_grpc().OracleStub(channel)

    def check(self) -> None:
        """Raise ChiefUnreachableError if all calls have failed for `timeout_s`.

        The time is counted from the first failure, not from the last answer, as a suspended process makes no calls.
        Raise UsageError if a chief of a version that differs too much has answered a heartbeat.
        """
        if self._incompatible is not None:
            raise self._incompatible
        since = self._failing_since
        if since is not None and time.monotonic() - since > self.timeout_s:
            raise self._unreachable(self.timeout_s)

    def join(self) -> lease_service.Joined:
        """Register this process with the chief.

        Raises UsageError if the chief is Keras Tuner's own or its answer cannot be understood. Also raises, if it lasts
        (`JoinProblem`), a UsageError because the versions of chief and worker differ too much, or the
        `connection_problem`.
        """
        request = lease_service.Join(worker=self.worker, incarnation=self.incarnation, pod=self.pod)
        try:
            joined = self._repeat(lambda: self._join(request))
        except ValidationError as error:
            raise UsageError(
                f"the answer of the chief at {self._address} cannot be understood ({error.errors()[0]['msg']}). "
                "Use the same version of cifake-tune for chief and workers."
            ) from None
        self._joined = True
        self.incarnation = joined.incarnation
        return joined

    def _join(self, request: lease_service.Join) -> lease_service.Joined:
        try:
            joined = self._leases.join(request, CALL_TIMEOUT_S)
            require_compatible(joined.version, tuner.__version__)
            return joined
        except grpc.RpcError as error:
            if error.code() is not grpc.StatusCode.UNIMPLEMENTED:
                raise
            raise UsageError(
                f"the process at {self._address} is not a chief of cifake-tune: it has no lease service, like the "
                "chief of a script with Keras Tuner alone. Start `cifake-tune chief` at this address, or start the "
                f"script itself as a worker. {names.ENV_ORACLE_IP} and {names.ENV_ORACLE_PORT} contain the address."
            ) from None

    def next_trial(self, check: Callable[[], None]) -> Grant | None:
        """Wait for a trial and return it; None once the search has finished, or if `was_dismissed`.

        `check` is called repeatedly while waiting, and may raise. Raises FencedError if a newer process has this
        worker's name.
        """
        while True:
            try:
                answer, call = self._repeat(lambda: self._create(check))
            except SearchOverError:
                return None
            except FencedAttemptError:
                raise FencedError(
                    f"another process has joined as worker {self.worker}, so this process ends. Give each worker its "
                    f"own {names.ENV_TUNER_ID}."
                ) from None
            trial = KerasTrial.from_proto(answer.trial)
            if trial.status == "STOPPED":
                self.was_dismissed = any(key == names.METADATA_DISMISSED for key, _ in call.trailing_metadata() or ())
                return None
            if trial.status == "RUNNING":
                start = dict(call.trailing_metadata())
                attempt, epoch = int(start[names.METADATA_ATTEMPT]), int(start[names.METADATA_EPOCH])
                checkpoint, sha256 = start.get(names.METADATA_CHECKPOINT), start.get(names.METADATA_SHA256)
                return Grant(trial, attempt, epoch, checkpoint, sha256)

    def _create(self, check: Callable[[], None]) -> tuple[Any, Any]:
        request = _service.CreateTrialRequest(tuner_id=self.worker)
        call = self._oracle.CreateTrial.future(
            request, metadata=self._metadata(), timeout=CREATE_TIMEOUT_S, wait_for_ready=True
        )
        # `call.result(timeout)` would measure the timeout with the wall clock, and wait an hour if that is set back
        done = threading.Event()
        call.add_done_callback(lambda _: done.set())
        while not done.wait(POLL_S):
            try:
                check()
                self._check_finished()
            except BaseException:
                call.cancel()
                raise
        return call.result(), call

    def report(
        self,
        grant: Grant,
        epoch: int,
        metrics: dict[str, float],
        checkpoint: str | None,
        sha256: str | None,
        unwanted: threading.Event,
        evidence: Evidence = NO_EVIDENCE,
        start_s: float | None = None,
    ) -> Verdict | None:
        """Report an epoch and its checkpoint; return why the trial must not be trained further, or None.

        Raises ReportRefusedError and FencedAttemptError. The latter is also raised if `unwanted` is set while the chief
        is unreachable.
        """
        request = _service.UpdateTrialRequest(trial_id=grant.trial_id, metrics=metrics, step=epoch)
        model = {names.METADATA_CHECKPOINT: checkpoint, names.METADATA_SHA256: sha256, **evidence.metadata()}
        if start_s is not None:
            model[names.METADATA_START_S] = f"{start_s:.3f}"
        metadata = self._metadata(grant, *((key, value) for key, value in model.items() if value))
        answer, call = self._repeat(
            lambda: self._oracle.UpdateTrial.with_call(request, metadata=metadata, timeout=CALL_TIMEOUT_S),
            unwanted=unwanted,
        )
        if KerasTrial.from_proto(answer.trial).status != "STOPPED":
            return None
        paused = any(key == names.METADATA_PAUSED for key, _ in call.trailing_metadata() or ())
        return Verdict.PAUSED if paused else Verdict.STOPPED

    def complete(self, grant: Grant) -> None:
        """Report that the trial is completed. Raises FencedAttemptError."""
        grant.trial.status = "COMPLETED"
        request = _service.EndTrialRequest(trial=grant.trial.to_proto())
        metadata = self._metadata(grant)
        self._repeat(lambda: self._oracle.EndTrial(request, metadata=metadata, timeout=CALL_TIMEOUT_S))

    def give_back(
        self,
        grant: Grant,
        outcome: Outcome,
        reason: str,
        failing_s: float = 0.0,
        *,
        stopping: bool = False,
        scope: FaultScope = FaultScope.TRIAL,
    ) -> None:
        """End the attempt without finishing the trial. Raises FencedAttemptError.

        Args:
            grant: The attempt.
            outcome: How it ended.
            reason: Why, in one sentence.
            failing_s: Seconds for which the environment had been failing, if the outcome is ENVIRONMENT.
            stopping: Whether the process was asked to stop. Then it stops trying after `GIVE_BACK_S`, because it has
                little time and its lease expires anyway.
            scope: Which trials have the fault, if the outcome is INVALID.
        """
        limit_s = GIVE_BACK_S if stopping else None
        is_environment = outcome is Outcome.ENVIRONMENT
        request = lease_service.GiveBack(
            worker=self.worker,
            incarnation=self.incarnation,
            trial=grant.trial_id,
            attempt=grant.attempt,
            outcome=Outcome.LOST if is_environment else outcome,
            failing_s=failing_s if is_environment else None,
            reason=reason[: lease_service.REASON_CHARACTERS],
            scope=scope,
        )
        self._repeat(lambda: self._leases.give_back(request, limit_s or CALL_TIMEOUT_S), limit_s)

    def heartbeat(self, beat: lease_service.Heartbeat) -> lease_service.Beat | None:
        """Send one heartbeat without retries; return None if it was not answered."""
        try:
            answer = self._tracked(lambda: self._leases.heartbeat(beat, CALL_TIMEOUT_S))
            require_compatible(answer.version, tuner.__version__)
        except (grpc.RpcError, NewerFormatError, IncompatibleVersionError) as error:
            self._incompatible = incompatible_version(error, self._address)
        except ValueError:  # a chief of another minor version answered
            pass
        else:
            return answer
        return None

    def _tracked(self, call: Callable[[], Answer]) -> Answer:
        """Make the call and record whether the chief was reachable."""
        try:
            answer = call()
        except grpc.RpcError as error:
            if error.code() in TRANSIENT:
                self._failing_since = self._failing_since or time.monotonic()
                self._outage.begin(cause(error))
            else:
                self._answered()
            raise
        self._answered()
        return answer

    def _answered(self) -> None:
        self._failing_since = None
        self._outage.end()

    def _unreachable(self, silent_s: float, problem: CifakeTuneError | None = None) -> CifakeTuneError:
        self._outage.close()
        cause = problem or "check that it is running."
        unreachable = ChiefUnreachableError(f"the chief at {self._address} did not answer for {silent_s:g} s; {cause}")
        return self.chief_error() or self.late_error() or unreachable

    def _metadata(self, grant: Grant | None = None, *more: tuple[str, str]) -> tuple[tuple[str, str], ...]:
        identity = (names.METADATA_WORKER, self.worker), (names.METADATA_INCARNATION, self.incarnation)
        return (*identity, (names.METADATA_ATTEMPT, str(grant.attempt)), *more) if grant else identity

    def _repeat(
        self, call: Callable[[], Answer], limit_s: float | None = None, unwanted: threading.Event | None = None
    ) -> Answer:
        timeout_s = self.timeout_s if limit_s is None else limit_s
        # counted from the first failure, as in `check`, so that a process suspended during a call makes another one
        deadline = None if limit_s is None else time.monotonic() + limit_s
        wait_s = 0.1
        while True:
            try:
                return self._tracked(call)
            except (grpc.RpcError, NewerFormatError, IncompatibleVersionError) as error:
                problem: CifakeTuneError | None = incompatible_version(error, self._address)
                if problem and self._joined:
                    raise problem from None
                if problem is None and isinstance(error, grpc.RpcError):
                    raise_unless_transient(error, self._address)
                    is_unavailable = error.code() is grpc.StatusCode.UNAVAILABLE
                    problem = self._connection_problem() if is_unavailable else None
            if problem:
                self._outage.begin(str(problem).rstrip("."))
            self._check_finished()
            now = time.monotonic()
            deadline = now + timeout_s if deadline is None else deadline
            if not self._joined and (lasting := self._join_problem.lasting(problem, now, deadline)):
                raise self.chief_error() or lasting
            if now > deadline:
                raise self._unreachable(timeout_s, problem)
            if (unwanted or _NEVER).wait(wait_s):
                raise FencedAttemptError
            wait_s = min(2 * wait_s, 5.0)

    def _check_finished(self) -> None:
        now, since = time.monotonic(), self._failing_since
        if since is None or now - max(since, self._looked_up_at) < LOOK_UP_S:
            return
        self._looked_up_at = now
        if self.is_finished():
            raise SearchOverError
        if error := self.chief_error():
            raise error
