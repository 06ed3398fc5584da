"""Leases, attempts and retry budgets: who may work on which trial, and when the search is over.

A synchronous state machine over the journal's state: each method takes what happened and the time, moves the
state, and returns the records that say so. It does no input or output and never blocks, so the chief calls it
from one thread, without locks.
"""

from collections import deque
from dataclasses import dataclass
from typing import Literal

from tuner.limits import wrong_report
from tuner.names import TrialId
from tuner.search.early_stopping import SuccessiveHalving
from tuner.search.leases import Lease, LeaseTable, Worker
from tuner.search.suggester import Suggestion
from tuner.study.records import AttemptEnded, Created, Ended, Finished, Leased, Outcome, Record, Reported, TrialState
from tuner.study.state import SCORED, StudyState, Trial, same_metrics


class StaleAttemptError(Exception):
    """The attempt is not the trial's newest, or not this worker's: it must be dropped."""


class UnknownTrialError(Exception):
    """There is no trial of that id."""


class BadReportError(Exception):
    """The report cannot be used; the message says why."""


@dataclass(frozen=True)
class AttemptClaim:
    """One try of one worker at a trial, as that worker names it (it may be an old one, or made up)."""

    worker: Worker
    trial: str
    number: int


@dataclass(frozen=True)
class Instant:
    """A moment: `at` in seconds since 1970 for the record, `monotonic` for deadlines."""

    at: float
    monotonic: float


class Oracle:
    """Hands out trials and takes their results; `state` is the journal's."""

    def __init__(self, state: StudyState, now: Instant) -> None:
        self.state = state
        self.exhausted = False
        """The algorithm has no further suggestion."""
        self._leases = LeaseTable()
        self._queue: deque[TrialId] = deque()
        self._early_stopping = SuccessiveHalving(state)
        for trial in state.trials.values():
            if trial.state is TrialState.QUEUED:
                self._queue.append(trial.trial_id)
            elif trial.state is TrialState.RUNNING:
                # its worker may have outlived the chief before us: it gets a whole lease to be heard again
                worker = Worker(trial.worker or "", trial.incarnation or "")
                self._lease(trial, worker, now)

    def at_work(self) -> list[Worker]:
        """Return the workers that hold leases."""
        return self._leases.workers()

    @property
    def leases(self) -> int:
        """How many leases are out."""
        return len(self._leases)

    # ---- handing out ----------------------------------------------------------------------------

    def join(self, worker: Worker, now: Instant) -> list[Record]:
        """A new process of a worker: what its older processes worked on is lost."""
        records: list[Record] = []
        for lease in self._leases.of_worker(worker.name):
            if lease.worker != worker:
                records += self._end_attempt(lease, Outcome.LOST, f"worker {worker.name} was started anew", now)
        return records

    def grant(self, worker: Worker, now: Instant) -> tuple[Trial | None, list[Record]]:
        """Return the trial that this worker is to work on, if one waits.

        A worker that asks while it holds a lease did not hear our answer, and gets the same trial again;
        one of Keras Tuner's own can only have been restarted, and its attempt is lost.
        """
        records: list[Record] = []
        for lease in self._leases.of_worker(worker.name):
            if lease.worker == worker and not worker.stock:
                lease.deadline = now.monotonic + self._duration(worker)
                return self.state.trials[lease.trial], records
            records += self._end_attempt(lease, Outcome.LOST, f"worker {worker.name} asked for another trial", now)
        if not self._queue or self.state.finished:
            return None, records
        trial = self.state.trials[self._queue[0]]
        records += self._apply(
            Leased(
                at=now.at,
                trial=trial.trial_id,
                attempt=trial.attempts + 1,
                worker=worker.name,
                incarnation=worker.incarnation,
            )
        )
        self._queue.popleft()
        self._lease(trial, worker, now)
        return trial, records

    @property
    def queued(self) -> int:
        """How many trials wait for a worker."""
        return len(self._queue)

    @property
    def wants_suggestion(self) -> bool:
        """Whether a worker that found nothing queued would take a new trial."""
        return not self._queue and not self.exhausted and not self.state.finished

    def add(self, suggestion: Suggestion, now: Instant) -> list[Record]:
        """Queue a new trial."""
        records = self._apply(
            Created(
                at=now.at,
                trial=suggestion.trial,
                hyperparameters=suggestion.values,
                algorithm=suggestion.algorithm,
            )
        )
        self._queue.append(suggestion.trial)
        return records

    # ---- taking in ------------------------------------------------------------------------------

    def beat(self, attempt: AttemptClaim, now: Instant) -> bool:
        """Renew a lease; false where the attempt is not the trial's newest."""
        if self._ended_with(attempt):
            return True  # it has not heard yet that the trial was stopped; its report's answer tells it
        try:
            lease = self._held(attempt)
        except (StaleAttemptError, UnknownTrialError):
            return False
        lease.deadline = now.monotonic + self._duration(attempt.worker)
        return True

    def report(
        self,
        attempt: AttemptClaim,
        epoch: int,
        metrics: dict[str, float],
        checkpoint: str | None,
        now: Instant,
        sha256: str | None = None,
    ) -> list[Record]:
        """Take an epoch's metrics, and stop the trial early where that says so; its state tells.

        The same report twice is one (its first answer was lost), and one that was under way while the trial was
        stopped changes nothing.
        """
        if self._ended_with(attempt):
            return []
        lease = self._held(attempt)
        if wrong := wrong_report(epoch, metrics):
            raise BadReportError(wrong)
        lease.deadline = now.monotonic + self._duration(attempt.worker)
        trial = self.state.trials[lease.trial]
        known = trial.epochs.get(epoch)
        if known is not None and same_metrics(known, metrics) and trial.checkpoints.get(epoch) == checkpoint:
            return []
        objective = self.state.settings.search.objective
        if objective not in metrics:
            raise BadReportError(
                f"search.objective is {objective!r}, and the model reports {', '.join(sorted(metrics))}; "
                "choose one of these."
            )
        reached = set(trial.rungs)
        records = self._apply(
            Reported(
                at=now.at,
                trial=lease.trial,
                attempt=lease.attempt,
                epoch=epoch,
                metrics=metrics,
                checkpoint=checkpoint,
                sha256=sha256 if checkpoint else None,
            )
        )
        new_rung = max(trial.rungs.keys() - reached, default=None)  # one, if this epoch is a rung's
        if stop := self._early_stopping.after_epoch(trial, new_rung, attempt.worker.stock):
            records += self._end_scored(lease, TrialState.STOPPED, stop.sentence(objective), now)
        return records

    def complete(self, attempt: AttemptClaim, now: Instant) -> list[Record]:
        """The attempt trained the trial to its end, or stopped as it was told."""
        if self._ended_with(attempt):
            return []  # stopped early, or our first answer was lost
        lease = self._held(attempt)
        if self.state.trials[lease.trial].best_epoch is None:
            return self._end_attempt(lease, Outcome.INVALID, "no epoch has a usable objective", now)
        return self._end_scored(lease, TrialState.COMPLETED, "", now)

    def give_back(self, attempt: AttemptClaim, outcome: Outcome, reason: str, now: Instant) -> list[Record]:
        """The attempt ended without finishing the trial."""
        if self._ended_with(attempt):
            return []
        return self._end_attempt(self._held(attempt), outcome, reason, now)

    def expire(self, now: Instant) -> list[Record]:
        """End the attempts whose workers have fallen silent."""
        records: list[Record] = []
        for lease in self._leases.expired(now.monotonic):
            silent = self._duration(lease.worker)
            reason = f"worker {lease.worker.name} was silent for {silent:g} s"
            records += self._end_attempt(lease, Outcome.LOST, reason, now)
        return records

    def stock_attempt(self, trial_id: TrialId, number: int) -> AttemptClaim:
        """Return the attempt of one of Keras Tuner's own workers, which does not say its name."""
        trial = self.state.trials.get(trial_id)
        worker = trial.worker if trial and trial.attempts == number else None
        return AttemptClaim(Worker(worker or "?"), trial_id, number)

    def extend_leases(self, seconds: float) -> None:
        """Extend every lease by the time for which nobody could be heard."""
        self._leases.extend(seconds)

    # ---- the end --------------------------------------------------------------------------------

    def finish(self, now: Instant) -> list[Record]:
        """End the search where nothing is left to do, or the failures of different trials say to give up."""
        if self.state.finished:
            return []
        limit = self.state.settings.search.max_consecutive_failures
        # of this term only: whoever starts the search again has mended something
        first = max(self.state.ended_before_term, len(self.state.ended) - limit)
        last = [self.state.trials[trial_id] for trial_id in self.state.ended[first:]]
        if len(last) == limit and all(trial.state is TrialState.FAILED for trial in last):
            reason = f"{limit} trials failed one after the other, the first of them: {last[0].reason}"
            self._leases.clear()
            return self._apply(Finished(at=now.at, reason=reason, failed=True))
        if self.exhausted and not self._queue and not self._leases:
            return self._apply(Finished(at=now.at, reason="all trials have ended"))
        return []

    # ---- inside ---------------------------------------------------------------------------------

    def _lease(self, trial: Trial, worker: Worker, now: Instant) -> None:
        self._leases.add(Lease(trial.trial_id, trial.attempts, worker, now.monotonic + self._duration(worker)))

    def _duration(self, worker: Worker) -> float:
        leases = self.state.settings.leases
        return leases.stock_duration_s if worker.stock else leases.duration_s

    def _held(self, attempt: AttemptClaim) -> Lease:
        if TrialId(attempt.trial) not in self.state.trials:
            raise UnknownTrialError
        lease = self._leases.of_trial(TrialId(attempt.trial))
        if lease is None or lease.worker != attempt.worker or lease.attempt != attempt.number:
            raise StaleAttemptError
        return lease

    def _ended_with(self, attempt: AttemptClaim) -> bool:
        """Say whether this attempt gave its trial the result that it has."""
        trial = self.state.trials.get(TrialId(attempt.trial))
        if trial is None or trial.state not in SCORED or trial.attempts != attempt.number:
            return False
        return Worker(trial.worker or "", trial.incarnation or "") == attempt.worker

    def _apply(self, record: Record) -> list[Record]:
        self.state.apply(record)
        return [record]

    def _end(self, record: Ended) -> list[Record]:
        records = self._apply(record)
        self._leases.end(record.trial)
        return records

    def _end_scored(
        self, lease: Lease, end: Literal[TrialState.COMPLETED, TrialState.STOPPED], reason: str, now: Instant
    ) -> list[Record]:
        trial = self.state.trials[lease.trial]
        best = trial.best_epoch
        return self._end(
            Ended(
                at=now.at,
                trial=lease.trial,
                attempt=lease.attempt,
                state=end,
                score=None if best is None else trial.epochs[best][self.state.settings.search.objective],
                best_epoch=best,
                reason=reason,
            )
        )

    def _end_attempt(self, lease: Lease, outcome: Outcome, reason: str, now: Instant) -> list[Record]:
        trial = self.state.trials[lease.trial]
        retries = self.state.settings.retries
        budgets = {
            Outcome.PREEMPTED: (retries.preemption, "retries.preemption"),
            Outcome.LOST: (retries.preemption, "retries.preemption"),
            Outcome.FAILED: (retries.failure, "retries.failure"),
            Outcome.OUT_OF_MEMORY: (retries.out_of_memory, "retries.out_of_memory"),
            Outcome.INVALID: (0, ""),
        }
        budget, name = budgets[outcome]
        shared = {other for other, (_, key) in budgets.items() if key == name}
        spent = sum(trial.outcomes[other] for other in shared)
        if spent >= budget:
            if budget and name:
                sentence, newline, trace = reason.partition("\n")
                reason = f"{sentence} (attempt {lease.attempt}; {name} is {budget}){newline}{trace}"
            self._early_stopping.forget(trial)
            return self._end(
                Ended(
                    at=now.at,
                    trial=lease.trial,
                    attempt=lease.attempt,
                    state=TrialState.FAILED,
                    outcome=outcome,
                    reason=reason,
                )
            )
        records = self._apply(
            AttemptEnded(at=now.at, trial=lease.trial, attempt=lease.attempt, outcome=outcome, reason=reason)
        )
        self._leases.end(lease.trial)
        self._queue.appendleft(lease.trial)  # work begun is finished first
        return records
