"""The chief, as a worker sees it: its calls with their retries, and the heartbeats."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import grpc
from keras_tuner.engine.trial import Trial as KerasTrial
from keras_tuner.src import protos

from tuner import names
from tuner.errors import ChiefUnreachableError, CifakeTuneError, EnvironmentFailure, FencedError
from tuner.rpc import lease_service
from tuner.study.records import Outcome

CALL_TIMEOUT_S = 30.0
CREATE_TIMEOUT_S = 60.0
"""Longer than the chief holds back an answer."""

OVER_S = 5.0
"""How often it is looked up whether the search is over, while the chief cannot be reached."""
GIVE_BACK_S = 4.0
POLL_S = 0.2

_service = protos.get_service()
_TRANSIENT = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,  # the chief has as many calls as it bears
    grpc.StatusCode.UNKNOWN,  # the chief's journal failed during the call: it ends, and is started again
)
_NEVER = threading.Event()
Answer = TypeVar("Answer")


class FencedAttemptError(Exception):
    """The attempt is not the trial's newest any more: drop it."""


class SearchOverError(FencedAttemptError):
    """The chief has gone, and what it left says that the search is over."""


class ReportRefusedError(Exception):
    """The chief cannot use what it was told; the message says why."""


@dataclass(frozen=True)
class Grant:
    """A trial to work on, and the epoch and saved model to go on from."""

    trial: KerasTrial
    attempt: int
    first_epoch: int
    checkpoint: str | None
    sha256: str | None = None
    """Of the checkpoint, as it was reported."""

    @property
    def trial_id(self) -> str:
        """The trial's id."""
        return str(self.trial.trial_id)


class ChiefClient:
    """The chief's two services; each call is repeated while the chief cannot be reached.

    All raise ChiefUnreachableError when `timeout_s` is over, and EnvironmentFailure for answers that make no sense.
    `trouble` says, of a chief that cannot be reached, what only a person can mend, if anything.
    """

    def __init__(
        self,
        channel: grpc.Channel,
        address: str,
        worker: str,
        incarnation: str,
        trouble: Callable[[], CifakeTuneError | None],
    ) -> None:
        self.timeout_s = 300.0
        self.is_over: Callable[[], bool] = lambda: False
        """Asked now and then while the chief cannot be reached: whether the journal says that the search is over. The
        chief waits for workers that it has heard lately, and one that was frozen then would look for it in vain."""
        self._asked_at = 0.0
        self._trouble = trouble
        self._joined = False
        self._failing_since: float | None = None
        self.worker = worker
        self.incarnation = incarnation
        self._address = address
        self._leases = lease_service.LeaseStub(channel)
        self._oracle = protos.get_service_grpc().OracleStub(channel)

    def check(self) -> None:
        """Raise ChiefUnreachableError where calls have failed for `timeout_s`, with none between that did not.

        Counted from a failure, not from the last answer: a process that was stopped for an hour has not missed anyone.
        """
        since = self._failing_since
        if since is not None and time.monotonic() - since > self.timeout_s:
            raise self._unreachable(self.timeout_s)

    def join(self) -> lease_service.Joined:
        """Introduce this process. Raises also what makes every further try useless."""
        request = lease_service.Join(worker=self.worker, incarnation=self.incarnation)
        joined = self._repeat(lambda: self._leases.join(request, CALL_TIMEOUT_S))
        self._joined = True
        self.incarnation = joined.incarnation
        return joined

    def next_trial(self, check: Callable[[], None]) -> Grant | None:
        """Wait for a trial; None when the search is over. `check` is called meanwhile, and may raise.

        Raises FencedError where a newer process has this worker's name.
        """
        while True:
            try:
                answer, call = self._repeat(lambda: self._create(check))
            except SearchOverError:
                return None
            except FencedAttemptError:
                raise FencedError(
                    f"another process has joined as worker {self.worker}, and this one ends; give each worker a "
                    f"{names.ENV_TUNER_ID} of its own."
                ) from None
            trial = KerasTrial.from_proto(answer.trial)
            if trial.status == "STOPPED":
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
        while True:
            try:
                return call.result(timeout=POLL_S), call
            except grpc.FutureTimeoutError:
                try:
                    check()
                    self._check_over()
                except BaseException:
                    call.cancel()
                    raise

    def report(
        self,
        grant: Grant,
        epoch: int,
        metrics: dict[str, float],
        checkpoint: str | None,
        sha256: str | None,
        unwanted: threading.Event,
    ) -> bool:
        """Report an epoch and its saved model; true where the trial is to stop.

        Raises FencedAttemptError, also once `unwanted` is set while the chief cannot be reached; ReportRefusedError.
        """
        request = _service.UpdateTrialRequest(trial_id=grant.trial_id, metrics=metrics, step=epoch)
        model = {names.METADATA_CHECKPOINT: checkpoint, names.METADATA_SHA256: sha256}
        metadata = self._metadata(grant, *((key, value) for key, value in model.items() if value))
        answer = self._repeat(
            lambda: self._oracle.UpdateTrial(request, metadata=metadata, timeout=CALL_TIMEOUT_S), unwanted=unwanted
        )
        return bool(KerasTrial.from_proto(answer.trial).status == "STOPPED")

    def complete(self, grant: Grant) -> None:
        """Report that the trial is trained to its end. Raises FencedAttemptError."""
        grant.trial.status = "COMPLETED"
        request = _service.EndTrialRequest(trial=grant.trial.to_proto())
        metadata = self._metadata(grant)
        self._repeat(lambda: self._oracle.EndTrial(request, metadata=metadata, timeout=CALL_TIMEOUT_S))

    def give_back(self, grant: Grant, outcome: Outcome, reason: str) -> None:
        """End the attempt without finishing the trial. Raises FencedAttemptError.

        One that was preempted has little time, and its lease runs out anyway: it is soon given up.
        """
        limit_s = GIVE_BACK_S if outcome is Outcome.PREEMPTED else None
        request = lease_service.GiveBack(
            worker=self.worker,
            incarnation=self.incarnation,
            trial=grant.trial_id,
            attempt=grant.attempt,
            outcome=outcome,
            reason=reason[: lease_service.REASON_CHARACTERS],
        )
        self._repeat(lambda: self._leases.give_back(request, limit_s or CALL_TIMEOUT_S), limit_s)

    def heartbeat(self, beat: lease_service.Heartbeat) -> lease_service.Beat | None:
        """Send one heartbeat, once; None where it did not get through."""
        try:
            return self._noted(lambda: self._leases.heartbeat(beat, CALL_TIMEOUT_S))
        except (grpc.RpcError, ValueError):  # the second: a chief of another version answers
            return None

    def _noted(self, call: Callable[[], Answer]) -> Answer:
        """Call, and take note of whether the chief is there."""
        try:
            answer = call()
        except grpc.RpcError as error:
            if error.code() not in _TRANSIENT:
                self._failing_since = None
            elif self._failing_since is None:
                self._failing_since = time.monotonic()
            raise
        self._failing_since = None
        return answer

    def _unreachable(self, silent_s: float, trouble: CifakeTuneError | None = None) -> ChiefUnreachableError:
        return ChiefUnreachableError(
            f"the chief at {self._address} did not answer for {silent_s:g} s; {trouble or 'is it running?'}"
        )

    def _metadata(self, grant: Grant | None = None, *more: tuple[str, str]) -> tuple[tuple[str, str], ...]:
        identity = (names.METADATA_WORKER, self.worker), (names.METADATA_INCARNATION, self.incarnation)
        return (*identity, (names.METADATA_ATTEMPT, str(grant.attempt)), *more) if grant else identity

    def _repeat(
        self, call: Callable[[], Answer], limit_s: float | None = None, unwanted: threading.Event | None = None
    ) -> Answer:
        timeout_s = self.timeout_s if limit_s is None else limit_s
        # counted from a failure, as in `check`: where we were stopped in the midst of a call, one more will do
        deadline = None if limit_s is None else time.monotonic() + limit_s
        wait_s = 0.1
        while True:
            try:
                return self._noted(call)
            except grpc.RpcError as error:
                code = error.code()
                if code is grpc.StatusCode.FAILED_PRECONDITION:
                    raise FencedAttemptError from None
                if code is grpc.StatusCode.INVALID_ARGUMENT:
                    raise ReportRefusedError(error.details()) from None
                if code not in _TRANSIENT:
                    raise EnvironmentFailure(
                        f"the chief at {self._address} answers {code}: {error.details()}."
                    ) from None
                trouble = self._trouble() if code is grpc.StatusCode.UNAVAILABLE else None
            if trouble and not self._joined:
                raise trouble
            self._check_over()
            deadline = time.monotonic() + timeout_s if deadline is None else deadline
            if time.monotonic() > deadline:
                raise self._unreachable(timeout_s, trouble)
            if (unwanted or _NEVER).wait(wait_s):
                raise FencedAttemptError
            wait_s = min(2 * wait_s, 5.0)

    def _check_over(self) -> None:
        now, since = time.monotonic(), self._failing_since
        if since is None or now - max(since, self._asked_at) < OVER_S:
            return
        self._asked_at = now
        if self.is_over():
            raise SearchOverError
