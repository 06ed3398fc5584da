"""The chief, as a worker sees it: its calls with their retries, and the heartbeats."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import grpc
from keras_tuner.engine.trial import Trial as KerasTrial
from keras_tuner.src import protos

from tuner import names, wire
from tuner.errors import ChiefUnreachableError, CifakeTuneError, SurroundingsError
from tuner.trials import Outcome

CALL_TIMEOUT_S = 30.0
CREATE_TIMEOUT_S = 60.0
"""Longer than the chief holds back an answer."""

GIVE_BACK_S = 5.0

_service = protos.get_service()
_TRANSIENT = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.UNKNOWN,  # the chief's journal failed during the call: it ends, and is started again
)
Answer = TypeVar("Answer")


class FencedAttemptError(Exception):
    """The attempt is not the trial's newest any more: drop it."""


class RefusedError(Exception):
    """The chief cannot use what it was told; the message says why."""


@dataclass(frozen=True)
class Grant:
    """A trial to work on, and the epoch and saved model to go on from."""

    trial: KerasTrial
    attempt: int
    first_epoch: int
    checkpoint: str | None

    @property
    def trial_id(self) -> str:
        """The trial's id."""
        return str(self.trial.trial_id)


class ChiefClient:
    """The chief's two services; each call is repeated while the chief cannot be reached.

    All raise ChiefUnreachableError when `timeout_s` is over, and SurroundingsError for answers that make no sense.
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
        self._trouble = trouble
        self._joined = False
        self.worker = worker
        self.incarnation = incarnation
        self._address = address
        self._leases = wire.LeaseStub(channel)
        self._oracle = protos.get_service_grpc().OracleStub(channel)

    def join(self) -> wire.Joined:
        """Introduce this process. Raises also what makes every further try useless."""
        request = wire.Join(worker=self.worker, incarnation=self.incarnation)
        joined = self._repeat(lambda: self._leases.join(request, CALL_TIMEOUT_S))
        self._joined = True
        return joined

    def next_trial(self) -> Grant | None:
        """Wait for a trial; None when the search is over."""
        request = _service.CreateTrialRequest(tuner_id=self.worker)
        while True:
            answer, call = self._repeat(
                lambda: self._oracle.CreateTrial.with_call(
                    request, metadata=self._metadata(), timeout=CREATE_TIMEOUT_S, wait_for_ready=True
                )
            )
            trial = KerasTrial.from_proto(answer.trial)
            if trial.status == "STOPPED":
                return None
            if trial.status == "RUNNING":
                start = dict(call.initial_metadata())
                attempt, epoch = int(start[names.METADATA_ATTEMPT]), int(start[names.METADATA_EPOCH])
                return Grant(trial, attempt, epoch, start.get(names.METADATA_CHECKPOINT))

    def report(self, grant: Grant, epoch: int, metrics: dict[str, float], checkpoint: str) -> bool:
        """Report an epoch; true where the trial is to stop. Raises FencedAttemptError, RefusedError."""
        request = _service.UpdateTrialRequest(trial_id=grant.trial_id, metrics=metrics, step=epoch)
        metadata = self._metadata(grant, (names.METADATA_CHECKPOINT, checkpoint))
        answer = self._repeat(lambda: self._oracle.UpdateTrial(request, metadata=metadata, timeout=CALL_TIMEOUT_S))
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
        timeout_s = GIVE_BACK_S if outcome is Outcome.PREEMPTED else self.timeout_s
        request = wire.GiveBack(
            worker=self.worker,
            incarnation=self.incarnation,
            trial=grant.trial_id,
            attempt=grant.attempt,
            outcome=outcome,
            reason=reason[: wire.REASON_CHARACTERS],
        )
        self._repeat(lambda: self._leases.give_back(request, min(CALL_TIMEOUT_S, timeout_s)), timeout_s)

    def heartbeat(self, beat: wire.Heartbeat) -> wire.Beat | None:
        """Send one heartbeat, once; None where it did not get through."""
        try:
            return self._leases.heartbeat(beat, CALL_TIMEOUT_S)
        except grpc.RpcError:
            return None

    def _metadata(self, grant: Grant | None = None, *more: tuple[str, str]) -> tuple[tuple[str, str], ...]:
        identity = (names.METADATA_WORKER, self.worker), (names.METADATA_INCARNATION, self.incarnation)
        return (*identity, (names.METADATA_ATTEMPT, str(grant.attempt)), *more) if grant else identity

    def _repeat(self, call: Callable[[], Answer], timeout_s: float | None = None) -> Answer:
        timeout_s = self.timeout_s if timeout_s is None else timeout_s
        deadline = time.monotonic() + timeout_s
        wait_s = 0.1
        while True:
            try:
                return call()
            except grpc.RpcError as error:
                code = error.code()
                if code is grpc.StatusCode.FAILED_PRECONDITION:
                    raise FencedAttemptError from None
                if code is grpc.StatusCode.INVALID_ARGUMENT:
                    raise RefusedError(error.details()) from None
                if code not in _TRANSIENT:
                    raise SurroundingsError(
                        f"the chief at {self._address} answers {code}: {error.details()}."
                    ) from None
                trouble = self._trouble() if code is grpc.StatusCode.UNAVAILABLE else None
            if trouble and not self._joined:
                raise trouble
            if time.monotonic() > deadline:
                raise ChiefUnreachableError(
                    f"the chief at {self._address} did not answer for {timeout_s:g} s; {trouble or 'is it running?'}"
                )
            time.sleep(wait_s)
            wait_s = min(2 * wait_s, 5.0)


class Heart:
    """Sends heartbeats from a thread, and learns from them whether the attempt is still wanted."""

    def __init__(self, chief: ChiefClient) -> None:
        self.fenced = threading.Event()
        self._chief = chief
        self._lock = threading.Lock()
        self._beat = wire.Heartbeat(worker=chief.worker, incarnation=chief.incarnation)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heart", daemon=True)

    def __enter__(self) -> "Heart":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Beat no more."""
        self._over.set()
        self._thread.join(1.0)

    def at_work(self, grant: Grant) -> None:
        """From now on beat for this attempt."""
        self._say(trial=grant.trial_id, attempt=grant.attempt, epoch=grant.first_epoch, progress=0.0)
        self.fenced.clear()

    def progress(self, epoch: int, share: float, images_per_s: float) -> None:
        """Take note of how far the attempt is."""
        self._say(epoch=epoch, progress=share, images_per_s=images_per_s)

    def idle(self) -> None:
        """From now on beat without a trial."""
        self._say(trial=None, attempt=0, epoch=0, progress=0.0, images_per_s=0.0)

    def _say(self, **changes: Any) -> None:
        with self._lock:
            self._beat = self._beat.model_copy(update=changes)

    def _run(self) -> None:
        next_s = 0.5
        while not self._over.wait(next_s):
            with self._lock:
                beat = self._beat
            answer = self._chief.heartbeat(beat)
            if answer is None:
                continue  # the chief may be starting anew; training goes on
            next_s = answer.next_s
            with self._lock:
                same = (beat.trial, beat.attempt) == (self._beat.trial, self._beat.attempt)
                if not answer.held and same:
                    self.fenced.set()
