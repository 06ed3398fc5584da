"""Leases, attempts and retry budgets: which worker may train which trial, and when the search has finished.

The oracle is a synchronous state machine over the journal's state. Each method takes an event and its time, changes the
state and returns the records of the change. The oracle does no input or output and never blocks, so the chief calls it
from one thread, without locks.
"""

from collections.abc import Collection, Iterable

from tuner.config.formats import COMPATIBLE, FORMAT
from tuner.limits import wrong_report
from tuner.names import TrialId
from tuner.search.budgets import SearchBudgets, Stamp
from tuner.search.claims import (
    AttemptClaim,
    BadReportError,
    Instant,
    StaleAttemptError,
    UnknownTrialError,
    ended_by,
    lease_of,
)
from tuner.search.early_stopping import SuccessiveHalving
from tuner.search.endings import concerns_all, environment_end, given_up, requested_end
from tuner.search.leases import LeaseTable, Worker
from tuner.search.outage import LeasePause
from tuner.search.suggester import Suggestion
from tuner.search.transitions import Transitions
from tuner.search.waiting_trials import WaitingTrials
from tuner.study.evidence import NO_EVIDENCE, Evidence
from tuner.study.progress import epochs_of
from tuner.study.records import (
    Action,
    Controlled,
    Created,
    FaultScope,
    Leased,
    ModelsDeleted,
    Outcome,
    Record,
    Reported,
    Served,
    TrialState,
)
from tuner.study.state import StudyState
from tuner.study.trial import Trial


class Oracle:
    """Leases trials to workers and records their results in `state`, which is the state of the journal."""

    def __init__(self, state: StudyState, now: Instant) -> None:
        self.state = state
        self.exhausted = False
        """Whether the algorithm has no further suggestion."""
        self._stamp = Stamp(now.monotonic)
        self._leases = LeaseTable()
        self._pause = LeasePause()
        self._waiting = WaitingTrials(state, self._leases)
        self._budgets = SearchBudgets(state, self._waiting.reserve)
        self._early_stopping = SuccessiveHalving(state)
        self._changes = Transitions(
            state, self._stamp, self._leases, self._waiting, self._budgets, self._early_stopping
        )
        for trial in state.trials.values():
            if trial.state is TrialState.RUNNING:
                # the trial's worker may still be training, so it gets a new lease in which to reach this chief
                worker = Worker(trial.worker or "", trial.incarnation or "")
                self._changes.lease(trial, worker, now)

    def at_work(self) -> list[Worker]:
        """Return the workers that hold leases."""
        return self._leases.workers()

    @property
    def leases(self) -> int:
        """Number of current leases."""
        return len(self._leases)

    # ---- leasing --------------------------------------------------------------------------------

    def join(self, worker: Worker, now: Instant, killed: Collection[Worker] = ()) -> list[Record]:
        """Register a new process of a worker, and end the attempts of the worker's older processes.

        Their outcome is OUT_OF_MEMORY for the processes in `killed`, which exceeded their memory, and otherwise LOST.
        """
        records: list[Record] = []
        for lease in self._leases.of_worker(worker.name):
            if lease.worker != worker:
                records += self._changes.end_lost(lease, f"worker {worker.name} was restarted", now, killed)
        return records

    def grant(self, worker: Worker, now: Instant) -> tuple[Trial | None, list[Record]]:
        """Lease the next waiting trial to a worker; return None if none waits, or none is leased now.

        If a worker asks although it holds a lease, it has not received the answer to its last call, and gets the same
        trial again. If it is one of Keras Tuner's own workers, it must have been restarted, and its attempt is lost.
        """
        records = self._end_budget(now)  # it may have ended since the last regular check
        for lease in self._leases.of_worker(worker.name):
            if lease.worker == worker and not worker.stock:
                lease.deadline = now.monotonic + self._changes.duration(worker)
                return self.state.trials[lease.trial], records
            records += self._changes.end_attempt(
                lease, Outcome.LOST, f"worker {worker.name} asked for another trial", now
            )
        trial_id = self._waiting.next(worker, self.starts_trials)
        if trial_id is None or self.state.finished or self.state.control.is_paused or self.is_paused(now):
            return None, records
        trial = self.state.trials[trial_id]
        self._waiting.take(trial)
        leased = Leased(
            at=now.at, trial=trial_id, attempt=trial.attempts + 1, worker=worker.name, incarnation=worker.incarnation
        )
        records += self._changes.apply(leased, now)
        self._changes.lease(trial, worker, now)
        self._pause.begin(self.state.outage, now.monotonic)
        return trial, records

    def is_paused(self, now: Instant) -> bool:
        """Return whether no trial is leased now because workers cannot save checkpoints (`tuner.search.outage`)."""
        return not self._pause.is_over(self.state.outage, now.monotonic)

    @property
    def queued(self) -> int:
        """Number of trials that could be leased now."""
        return self.queued_for(stock=False)

    def queued_for(self, stock: bool) -> int:
        """Return how many of them one of Keras Tuner's own workers gets (`stock`), or any other worker."""
        if self.state.control.is_paused:
            return 0
        of_search = 0 if self.state.ending else self._waiting.count(self.starts_trials, stock)
        return of_search + self._waiting.repetitions.count

    @property
    def wants_suggestion(self) -> bool:
        """Whether a new trial could be leased immediately, because no trial waits and the search continues."""
        over = self.exhausted or self.state.finished or self.state.ending or self._waiting.is_closing
        return not (over or self.state.control.is_paused or self.queued)

    @property
    def starts_trials(self) -> bool:
        """Whether more trials may be suggested. It may turn out that the algorithm has no further suggestion."""
        return self._may_start_trials and not self._waiting.is_closing

    @property
    def is_closing(self) -> bool:
        """Whether the search only completes its finalists, because a budget of hours is about to end."""
        return self._waiting.is_closing

    @property
    def _may_start_trials(self) -> bool:
        """The same, or whether they may be suggested once only the finalists are no longer to be completed."""
        most, over = self.state.max_trials, self.exhausted or self.state.finished or self.state.ending
        return not over and (most is None or self.state.suggested_count < most)

    @property
    def needed_workers(self) -> int | None:
        """Number of workers that can have a trial at the same time; None if more trials may be suggested.

        None while a user has paused the search, whose workers then wait. A paused trial counts if its rung promotes it,
        or search.finalists needs it.
        """
        if self._may_start_trials or self.state.control.is_paused:
            return None
        return 0 if self.state.finished else self.leases + self.queued + self._waiting.repetitions.to_come

    def add(self, suggestion: Suggestion, now: Instant) -> list[Record]:
        """Queue the trial of a suggestion."""
        trial, values = suggestion.trial, suggestion.values
        return self._changes.apply(
            Created(at=now.at, trial=trial, hyperparameters=values, algorithm=suggestion.algorithm), now
        )

    # ---- reports --------------------------------------------------------------------------------

    def beat(self, attempt: AttemptClaim, now: Instant) -> bool:
        """Renew the lease of an attempt. Return False if the attempt is not the trial's newest."""
        if ended_by(attempt, self.state.trials):
            # the worker learns from the answer to its next report that the trial was stopped or paused
            return not self._budgets.was_cut(self.state.trials[TrialId(attempt.trial)])
        try:
            lease = lease_of(attempt, self._leases, self.state.trials)
        except (StaleAttemptError, UnknownTrialError):
            return False
        lease.deadline = now.monotonic + self._changes.duration(attempt.worker)
        return True

    def report(
        self,
        attempt: AttemptClaim,
        epoch: int,
        metrics: dict[str, float],
        checkpoint: str | None,
        now: Instant,
        sha256: str | None = None,
        evidence: Evidence = NO_EVIDENCE,
        start_s: float | None = None,
    ) -> list[Record]:
        """Record an epoch's metrics, and change the trial's state to STOPPED or PAUSED if early stopping decides so.

        A report changes nothing if it repeats an earlier one whose answer was lost, or if it was sent before the worker
        knew that the trial was stopped. Raises StaleAttemptError, UnknownTrialError and BadReportError.
        `start_s` is the time from the lease to the end of the first training step, if the worker measured it.
        """
        if ended_by(attempt, self.state.trials):
            return []
        lease = lease_of(attempt, self._leases, self.state.trials)
        objective = self.state.settings.search.objective
        if wrong := wrong_report(epoch, metrics, objective):
            raise BadReportError(wrong)
        lease.deadline = now.monotonic + self._changes.duration(attempt.worker)
        trial = self.state.trials[lease.trial]
        if trial.has_report(epoch, metrics, checkpoint, evidence.returned):
            return []
        reached = set(trial.rungs)
        records = self._changes.apply(
            Reported(
                at=now.at,
                trial=lease.trial,
                attempt=lease.attempt,
                epoch=epoch,
                metrics=metrics,
                checkpoint=checkpoint,
                sha256=sha256 if checkpoint else None,
                verified=evidence.verified,
                returned=evidence.returned,
                start_s=start_s,
                format=FORMAT if evidence.returned else COMPATIBLE,
            ),
            now,
        )
        records += self._end_budget(now)
        new_rung = max(trial.rungs.keys() - reached, default=None)  # at most one rung is new
        can_resume = checkpoint is not None and not evidence.returned and not attempt.worker.stock
        paused_for = self._waiting.after_epoch(trial, attempt.worker, new_rung, can_resume, self.starts_trials)
        asha = None if self._waiting.promotion else self._early_stopping
        if asha and (stop := asha.after_epoch(trial, new_rung, attempt.worker.stock)):
            records += self._changes.end_scored(lease, TrialState.STOPPED, stop.sentence(objective), now)
        elif end := self._budgets.after_epoch(trial, now.at):
            records += self._changes.end(end, now)
        elif paused_for and not self.state.ending:
            records += self._changes.pause(lease, paused_for, now)
        elif self.state.control.is_paused and can_resume and epoch + 1 < epochs_of(self.state, trial):
            records += self._changes.queue_again(requested_end(lease, now.at), now)
        return records

    def complete(self, attempt: AttemptClaim, now: Instant) -> list[Record]:
        """End a trial that the attempt has trained to the end."""
        if ended_by(attempt, self.state.trials):
            return []  # the trial was stopped early or paused, or the answer to an earlier call was lost
        lease = lease_of(attempt, self._leases, self.state.trials)
        if self.state.trials[lease.trial].best_epoch is None:
            # the training of a stock worker is not seeded, so another attempt may succeed, as in Keras Tuner
            outcome = Outcome.FAILED if attempt.worker.stock else Outcome.INVALID
            return self._changes.end_attempt(lease, outcome, "no epoch has a finite objective", now)
        return self._changes.end_scored(lease, TrialState.COMPLETED, "", now)

    def give_back(
        self,
        attempt: AttemptClaim,
        outcome: Outcome,
        reason: str,
        now: Instant,
        failing_s: float = 0.0,
        scope: FaultScope = FaultScope.TRIAL,
    ) -> list[Record]:
        """End an attempt that did not finish its trial, and the search if every trial has the same fault.

        If its outcome is ENVIRONMENT, `failing_s` is the number of seconds for which the environment had been failing.
        """
        if ended_by(attempt, self.state.trials):
            return []
        lease = lease_of(attempt, self._leases, self.state.trials)
        if concerns_all(self.state, scope, lease.trial):
            return self._changes.end_with_fault(lease, scope, reason, now)
        if outcome is not Outcome.ENVIRONMENT:
            return self._changes.end_attempt(lease, outcome, reason, now, refused=scope is FaultScope.REFUSED)
        records = self._changes.queue_again(environment_end(lease, failing_s, reason, now.at), now)
        self._pause.begin(self.state.outage, now.monotonic)
        return records

    def expired(self, now: Instant) -> list[Worker]:
        """Return the workers whose leases have expired."""
        return [lease.worker for lease in self._leases.expired(now.monotonic)]

    def expire(self, now: Instant, killed: Collection[Worker] = ()) -> list[Record]:
        """End the attempts whose leases have expired. `killed` are the processes that exceeded their memory."""
        records: list[Record] = []
        for lease in self._leases.expired(now.monotonic):
            silent = self._changes.duration(lease.worker)
            reason = f"worker {lease.worker.name} sent no heartbeat for {silent:g} s"
            records += self._changes.end_lost(lease, reason, now, killed)
        return [*records, *self._end_budget(now), *self._changes.cut_overdue(now)]

    def record_time(self, idle_s: float, now: Instant) -> list[Record]:
        """Record regularly that the chief serves, and for how long its workers have been idle (Stamp.idle_s)."""
        self._stamp.idle_s = idle_s
        return self._changes.apply(Served(at=now.at, idle_s=idle_s), now) if self._stamp.is_due(now.monotonic) else []

    def control(self, request: Controlled, now: Instant) -> list[Record]:
        """Do what a user has requested. Running trials follow at their next report."""
        records = self._changes.apply(request, now)
        if request.refusal:
            return records
        if request.action is Action.ENQUEUE:
            self.exhausted = False
        if request.action is Action.STOP:
            records += self._changes.apply_all(self._waiting.stop(request.trials, now.at), now)
        return records

    def delete_models(self, paused: Iterable[TrialId], now: Instant) -> list[Record]:
        """Record that the saved models of paused trials are about to be deleted."""
        trials = tuple(paused)
        return self._changes.apply(ModelsDeleted(at=now.at, trials=trials), now) if trials else []

    def extend_leases(self, seconds: float) -> None:
        """Extend all leases by the time during which no heartbeat could be received."""
        self._leases.extend(seconds)

    # ---- the end --------------------------------------------------------------------------------

    def finish(self, now: Instant) -> list[Record]:
        """End the search if all trials or a budget have ended, or give it up after too many consecutive failures.

        Before it ends, its best trials are trained again if search.confirm is set.
        """
        if self.state.finished:
            return []
        records = self._end_budget(now)
        if finished := given_up(self.state, now.at):
            self._leases.clear()
            return [*records, *self._changes.apply(finished, now)]
        is_left = not self.starts_trials and self._waiting.is_left_to_stock
        if not (self.state.ending or is_left or self.exhausted):
            return records
        if self._waiting.is_searching(self.starts_trials, is_left):
            return records
        ends: list[Record] = [*self._waiting.withdraw(now.at, is_left)]
        ends += self._budgets.withdrawn(self._waiting.queue, now.at)
        records += self._changes.apply_all(ends, now)
        records += self._changes.apply_all(self._waiting.repetitions.missing(now.at), now)
        if self._leases or self._waiting.repetitions.count:
            return records
        records += self._changes.apply_all(self._budgets.withdrawn(self._waiting.repetitions.queue, now.at), now)
        return records + self._changes.apply(self._budgets.finished(now.at), now)

    def _end_budget(self, now: Instant) -> list[Record]:
        ended = self._budgets.ended(self._stamp.served_s(now.monotonic), now.at)
        return self._changes.apply(ended, now) if ended else []
