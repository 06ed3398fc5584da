"""Transitions of trials: applies the records with which leases, attempts and trials begin and end.

Each method returns the records that it has applied to the state, with their time. The oracle decides when to call it.
"""

from collections.abc import Collection, Iterable
from typing import Literal

from tuner.search.budgets import SearchBudgets, Stamp
from tuner.search.claims import Instant
from tuner.search.early_stopping import SuccessiveHalving
from tuner.search.endings import killed_reason, scored_end, unfinished_end
from tuner.search.endings import pause as pause_of
from tuner.search.leases import Lease, LeaseTable, Worker
from tuner.search.waiting_trials import WaitingTrials
from tuner.study.records import AttemptEnded, Ended, FaultScope, Finished, Outcome, Record, TrialState
from tuner.study.state import StudyState
from tuner.study.trial import Trial


class Transitions:
    """Changes the state of trials together with their leases and their places among the waiting trials.

    Args:
        state: The state of the study.
        stamp: Adds the time to each record.
        leases: The current leases.
        waiting: The trials that wait for a worker.
        budgets: Decides which trials a budget stops.
        early_stopping: Compares trials, unless `waiting` promotes them.
    """

    def __init__(
        self,
        state: StudyState,
        stamp: Stamp,
        leases: LeaseTable,
        waiting: WaitingTrials,
        budgets: SearchBudgets,
        early_stopping: SuccessiveHalving,
    ) -> None:
        self._state = state
        self._stamp = stamp
        self._leases = leases
        self._waiting = waiting
        self._budgets = budgets
        self._early_stopping = early_stopping

    def lease(self, trial: Trial, worker: Worker, now: Instant) -> None:
        """Lease a trial to a worker."""
        self._leases.add(Lease(trial.trial_id, trial.attempts, worker, now.monotonic + self.duration(worker)))

    def duration(self, worker: Worker) -> float:
        """Return the duration of a worker's lease, in seconds."""
        leases = self._state.settings.leases
        return leases.stock_duration_s if worker.stock else leases.duration_s

    def apply_all(self, records: Iterable[Record], now: Instant) -> list[Record]:
        """Apply records that concern no lease."""
        return [applied for record in records for applied in self.apply(record, now)]

    def apply(self, record: Record, now: Instant) -> list[Record]:
        """Apply a record that concerns no lease."""
        record = self._stamp.stamped(record, now.monotonic)
        self._state.apply(record)
        self._waiting.applied(record)
        return [record]

    def cut_overdue(self, now: Instant) -> list[Record]:
        """End the attempts that have not finished their epoch within the time of grace after the end of a budget."""
        records = []
        for end in self._budgets.overdue(self._leases.trials(), self._stamp.served_s(now.monotonic), now.at):
            if end.outcome is Outcome.INVALID:
                self.forget(self._state.trials[end.trial])
            records += self.queue_again(end, now) if isinstance(end, AttemptEnded) else self.end(end, now)
        return records

    def end(self, record: Ended, now: Instant) -> list[Record]:
        """End a leased trial."""
        records = self.apply(record, now)
        self._leases.end(record.trial)
        return records

    def end_scored(
        self, lease: Lease, end: Literal[TrialState.COMPLETED, TrialState.STOPPED], reason: str, now: Instant
    ) -> list[Record]:
        """End a leased trial with its score."""
        trial = self._state.trials[lease.trial]
        if self._waiting.promotion and end is TrialState.COMPLETED and trial.repeats is None:
            self._waiting.promotion.complete(trial)
        return self.end(scored_end(self._state, lease, end, reason, now.at), now)

    def pause(self, lease: Lease, reason: str, now: Instant) -> list[Record]:
        """Pause a leased trial at a rung."""
        records = self.apply(pause_of(self._state, lease, reason, now.at), now)
        self._leases.end(lease.trial)
        self._waiting.pause(self._state.trials[lease.trial])
        return records

    def end_with_fault(self, lease: Lease, scope: FaultScope, reason: str, now: Instant) -> list[Record]:
        """End the trial and the search, because the trial's fault concerns all trials."""
        records = self.end_attempt(lease, Outcome.INVALID, reason, now)
        self._leases.clear()
        ended = scope.end_of_search(lease.trial, reason)
        return [*records, *self.apply(Finished(at=now.at, reason=ended, failed=True, shared_fault=True), now)]

    def end_lost(self, lease: Lease, reason: str, now: Instant, killed: Collection[Worker]) -> list[Record]:
        """End the attempt of a lost worker, which has exceeded its memory if it is in `killed`."""
        if lease.worker not in killed:
            return self.end_attempt(lease, Outcome.LOST, reason, now)
        return self.end_attempt(lease, Outcome.OUT_OF_MEMORY, killed_reason(lease), now)

    def end_attempt(
        self, lease: Lease, outcome: Outcome, reason: str, now: Instant, *, refused: bool = False
    ) -> list[Record]:
        """End an attempt that did not finish its trial, and the trial if its retry budget is used up."""
        record = unfinished_end(self._state, lease, outcome, reason, now.at, refused=refused)
        if isinstance(record, AttemptEnded):
            return self.queue_again(record, now)
        self.forget(self._state.trials[lease.trial])
        return self.end(record, now)

    def forget(self, trial: Trial) -> None:
        """Exclude a trial that is about to fail from the comparisons of early stopping."""
        (self._waiting.promotion or self._early_stopping).forget(trial)

    def queue_again(self, record: AttemptEnded, now: Instant) -> list[Record]:
        """End an attempt whose trial is queued again, or ends because of its own budget or a user's request."""
        if end := self._budgets.spent(record, self._stamp.served_s(now.monotonic)):
            return self.end(end, now)
        records = self.apply(record, now)
        self._leases.end(record.trial)
        self._waiting.interrupt(record.trial)
        return records
