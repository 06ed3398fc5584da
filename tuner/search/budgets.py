"""What the budgets decide during a search: when it ends, and which trials they stop.

`tuner.study.budgets` computes how much of a budget is used. When a budget of the search has ended, no trial is leased
any more. A running trial becomes STOPPED when it reports its current epoch, or after `search.grace_minutes`. The
budget of a single trial, `training.max_minutes`, stops the trial in the same way.
"""

from collections.abc import Iterable, Iterator

from tuner.names import TrialId
from tuner.study.budgets import ended_budget, time_at
from tuner.study.progress import epochs_of
from tuner.study.records import AttemptEnded, BudgetEnded, Ended, Finished, Outcome, Record, TrialState, Withdrawn
from tuner.study.state import StudyState
from tuner.study.trial import Trial

SERVED_S = 30.0
"""Seconds between two records Served. A chief that is killed loses the time since its newest record."""


MAX_MINUTES = "training.max_minutes"


class Stamp:
    """Adds the time since the chief began to serve to records. Times are monotonic, in seconds."""

    def __init__(self, began: float) -> None:
        self._began = began
        self._due = began + SERVED_S
        self.idle_s = 0.0
        """Seconds for which workers had no trial, summed over the workers."""

    def served_s(self, monotonic: float) -> float:
        """Return the seconds for which the chief has served."""
        return max(0.0, monotonic - self._began)

    def is_due(self, monotonic: float) -> bool:
        """Return whether a record Served is due. The next one is due SERVED_S later."""
        if monotonic < self._due:
            return False
        self._due = monotonic + SERVED_S
        return True

    def stamped(self, record: Record, monotonic: float) -> Record:
        """Return the record with its time."""
        stamp = {"served_s": round(self.served_s(monotonic), 3)}
        return record.model_copy(update=stamp | ({"idle_s": self.idle_s} if isinstance(record, Finished) else {}))


class SearchBudgets:
    """Decides when a search ends by a budget, and which trials a budget stops. `served_s` is that of Stamp."""

    def __init__(self, state: StudyState) -> None:
        self._state = state

    def ended(self, served_s: float, at: float) -> BudgetEnded | None:
        """Return the record of the budget that has ended; None if all last, or if one had ended before."""
        if self._state.ending or self._state.finished:
            return None
        use = ended_budget(self._state, time_at(self._state, served_s))
        return None if use is None else BudgetEnded(at=at, budget=use.budget, limit=use.limit, reason=use.reason)

    def after_epoch(self, trial: Trial, at: float) -> Ended | None:
        """Return the end of a trial that must stop after the epoch that it has just reported; None if it continues."""
        if trial.best_epoch is None or max(trial.epochs) + 1 >= epochs_of(self._state, trial):
            return None  # the trial has no score, or ends with this epoch anyway
        if ending := self._state.ending:
            return self._stopped(trial, ending.sentence, at, ending.budget)
        reason = self._over_minutes(trial, self._state.time.served_s)
        return self._stopped(trial, reason, at, MAX_MINUTES) if reason else None

    def overdue(self, trials: Iterable[TrialId], served_s: float, at: float) -> Iterator[Ended | AttemptEnded]:
        """Yield the ends of the leased trials that must stop within an epoch, because the time of grace has passed.

        Their workers then learn from the next heartbeat that they must abandon the epoch.
        """
        state, now_s = self._state, time_at(self._state, served_s).served_s
        grace_s = state.settings.search.grace_minutes * 60
        ending = state.ending if state.ending and now_s - state.ending.at_s >= grace_s else None
        for trial in [state.trials[trial_id] for trial_id in trials]:
            reason = ending.sentence if ending else self._over_minutes(trial, now_s, grace_s)
            if not reason:
                continue
            reason = f"{reason}, and search.grace_minutes ({grace_s / 60:g} min) passed before the end of the epoch"
            if trial.best_epoch is not None:
                yield self._stopped(trial, reason, at, ending.budget if ending else MAX_MINUTES)
                continue
            end = {"at": at, "trial": trial.trial_id, "attempt": trial.attempts, "reason": reason}
            if ending:  # the trial continues if the budget is raised
                yield AttemptEnded(**end, outcome=Outcome.PREEMPTED)
            else:
                yield Ended(**end, outcome=Outcome.INVALID, state=TrialState.FAILED)

    def spent(self, attempt: AttemptEnded, served_s: float) -> Ended | None:
        """Return the end of an interrupted trial whose own budget has ended; None if the trial must be queued again.

        A trial without a score is queued again, because it has nothing to end with.
        """
        trial = self._state.trials[attempt.trial]
        reason = self._over_minutes(trial, time_at(self._state, served_s).served_s)
        is_over = reason and trial.best_epoch is not None
        return self._stopped(trial, reason, attempt.at, MAX_MINUTES) if is_over else None

    def _stopped(self, trial: Trial, reason: str, at: float, budget: str) -> Ended:
        best = trial.best_epoch
        return Ended(
            at=at,
            trial=trial.trial_id,
            attempt=trial.attempts,
            state=TrialState.STOPPED,
            score=None if best is None else trial.epochs[best][self._state.objective.name],
            best_epoch=best,
            reason=reason,
            budget=budget,
        )

    def was_cut(self, trial: Trial) -> bool:
        """Return whether a budget ended the trial within an epoch, so that it ended later than its newest report."""
        if trial.state is not TrialState.STOPPED or not trial.budget or trial.ended_waiting:
            return False
        return trial.ended not in trial.reported.values()

    def last_records(self, queued: Iterable[TrialId], at: float) -> Iterator[Withdrawn | Finished]:
        """Yield the records that end the search. If a budget ended it, queued trials that have a score end too."""
        ending, objective = self._state.ending, self._state.objective.name
        if ending is None:
            yield Finished(at=at, reason="all trials have ended")
            return
        for trial in [self._state.trials[trial_id] for trial_id in queued]:
            if trial.best_epoch is not None:
                yield Withdrawn(
                    at=at,
                    trial=trial.trial_id,
                    score=trial.epochs[trial.best_epoch][objective],
                    best_epoch=trial.best_epoch,
                    reason=ending.sentence,
                    budget=ending.budget,
                )
        yield Finished(at=at, reason=ending.sentence, budget=ending.budget)

    def _over_minutes(self, trial: Trial, served_s: float, grace_s: float = 0.0) -> str:
        minutes = self._state.settings.training.max_minutes
        if minutes is None or trial.work.total_s(served_s) < minutes * 60 + grace_s:
            return ""
        return f"ended by {MAX_MINUTES} ({minutes:g} min)"
