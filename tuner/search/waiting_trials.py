"""The trials that wait for a worker, in the order in which they are leased."""

from collections import deque

from tuner.config.settings import Policy
from tuner.names import TrialId
from tuner.search.endings import stopped_at_end
from tuner.search.leases import LeaseTable, Worker
from tuner.search.promotion import Promotion
from tuner.search.restart_cost import is_nearly_there
from tuner.study.records import Ended, TrialState
from tuner.study.state import StudyState, Trial


class WaitingTrials:
    """Interrupted trials, paused trials that may continue, and new trials.

    A worker gets an interrupted trial. If there is none, it gets the best promotable trial of the highest rung, then a
    new trial, and after the last suggestion the best paused trial. Without promotion, no trial is paused.
    """

    def __init__(self, state: StudyState, leases: LeaseTable) -> None:
        self._state = state
        self._leases = leases
        stopping = state.settings.search.early_stopping
        self.promotion = Promotion(state) if stopping.policy is Policy.PROMOTION else None
        self._interrupted: deque[TrialId] = deque()
        self._new: deque[TrialId] = deque()
        for trial in state.trials.values():
            if trial.state is TrialState.QUEUED:
                (self._interrupted if trial.attempts else self._new).append(trial.trial_id)

    @property
    def queued(self) -> int:
        """Number of interrupted and new trials."""
        return len(self._interrupted) + len(self._new)

    def count(self, starts_trials: bool) -> int:
        """Return the number of trials that could be leased now. `starts_trials`: whether more may be suggested."""
        if self.promotion is None:
            return self.queued
        finalists = [] if starts_trials else self.promotion.finalists(self._active())
        # a finalist may be promotable too, but then it is promoted first, and the number only wakes workers
        return self.queued + max(self.promotion.promotable_count(), len(finalists))

    def next(self, worker: Worker, starts_trials: bool, leaving: Trial | None = None) -> TrialId | None:
        """Return the trial that a worker gets; None if none is ready.

        Args:
            worker: The worker. Keras Tuner's own workers would train a paused trial from its first epoch, so they get
                one only at the end of the search.
            starts_trials: Whether more trials may be suggested.
            leaving: A leased trial that counts as if it were not leased.
        """
        if self._interrupted:
            return self._interrupted[0]
        if self.promotion and not worker.stock and (trial := self.promotion.promotable(worker.name)):
            return trial
        if self._new:
            return self._new[0]
        if self.promotion is None or starts_trials:
            return None
        return self.promotion.promotable(worker.name) or self.promotion.preferred_finalist(
            worker.name, self._active(leaving)
        )

    def after_epoch(
        self, trial: Trial, worker: Worker, new_rung: int | None, can_resume: bool, starts_trials: bool
    ) -> str | None:
        """Return why a trial must be paused after the epoch that it has just reported; None if it continues.

        Args:
            trial: The trial, which already includes that epoch.
            worker: The worker that trains it.
            new_rung: The rung that the trial has reached with this epoch, if any.
            can_resume: Whether the trial could continue from a saved model.
            starts_trials: Whether more trials may be suggested.
        """
        if self.promotion is None:
            return None
        if new_rung is not None:
            self.promotion.reach(trial, new_rung)
        if not can_resume or not trial.rungs or is_nearly_there(self._state, trial):
            return None
        if new_rung is not None and self._gets_another(self.promotion, trial, worker, starts_trials):
            return self.promotion.reason(trial)
        return self.promotion.reason(trial) if self._is_needless(self.promotion, trial, starts_trials) else None

    def _gets_another(self, promotion: Promotion, trial: Trial, worker: Worker, starts_trials: bool) -> bool:
        """Return whether the worker would get another trial if this one, which is running, were paused now."""
        promotion.pause(trial)
        following = self.next(worker, starts_trials, leaving=trial)
        promotion.resume(trial)
        return starts_trials if following is None else following != trial.trial_id

    def _is_needless(self, promotion: Promotion, trial: Trial, starts_trials: bool) -> bool:
        """Return whether a running trial delays the end of the search for nothing.

        That is so if every running trial is needless and no trial waits, so that the search ends once they are paused.
        """
        if starts_trials or not promotion.is_needless(trial) or self.count(starts_trials):
            return False
        return all(map(promotion.is_needless, self._active(leaving=trial)))

    def add(self, trial: TrialId) -> None:
        """Queue a new trial."""
        self._new.append(trial)

    def interrupt(self, trial: TrialId) -> None:
        """Queue a trial whose attempt was interrupted. It continues before all others."""
        self._interrupted.appendleft(trial)

    def pause(self, trial: Trial) -> None:
        """Add a trial that was paused."""
        if self.promotion:
            self.promotion.pause(trial)

    def withdraw(self, at: float) -> list[Ended]:
        """Remove the paused trials at the end of the search, and return their ends."""
        ends = []
        for trial in self._state.trials.values():
            if self.promotion and trial.state is TrialState.PAUSED:
                ends.append(stopped_at_end(trial, self.promotion.reason(trial), at))
                self.promotion.resume(trial)
        return ends

    def take(self, trial: Trial) -> None:
        """Remove a trial that is about to be leased."""
        if self.promotion and trial.state is TrialState.PAUSED:
            self.promotion.resume(trial)
        else:
            (self._interrupted if trial.trial_id in self._interrupted else self._new).remove(trial.trial_id)

    def _active(self, leaving: Trial | None = None) -> list[Trial]:
        trials = [self._state.trials[trial] for trial in (*self._leases.trials(), *self._interrupted)]
        return [trial for trial in trials if trial is not leaving]
