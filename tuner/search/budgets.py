"""What the budgets decide during a search: when it ends, and which trials they stop.

`tuner.study.budgets` computes how much of a budget is used. When a budget of the search has ended, no trial is leased
any more. A running trial becomes STOPPED when it reports its current epoch, or after `search.grace_minutes`. The
budget of a single trial, `training.max_minutes`, stops the trial in the same way.
"""

from collections.abc import Iterable, Iterator

from tuner.names import TrialId
from tuner.search.endings import withdrawn
from tuner.search.reserve import Reserve
from tuner.study.budgets import budget_uses, ended_budget, ended_hours, time_at
from tuner.study.confirmation import MAX_MINUTES
from tuner.study.ending import HOURS, BudgetEnding
from tuner.study.progress import epochs_of
from tuner.study.records import AttemptEnded, BudgetEnded, Ended, Finished, Outcome, Record, TrialState, Withdrawn
from tuner.study.state import StudyState
from tuner.study.trial import Trial
from tuner.study.work_time import ServedTime

SERVED_S = 30.0
"""Seconds between two records Served. A chief that is killed loses the time since its newest record."""


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

    def __init__(self, state: StudyState, reserve: Reserve) -> None:
        self._state = state
        self._reserve = reserve

    def ended(self, served_s: float, at: float) -> BudgetEnded | None:
        """Return the record of the budget that has ended; None if all last, or if one had ended before.

        After the search itself, only hours end the trainings of search.confirm.
        """
        state, confirm = self._state, self._state.settings.search.confirm
        if state.finished or (state.ending and (state.ending.ends_everything or not confirm.is_on)):
            return None
        time = time_at(state, served_s)
        use = ended_hours(state, time) if state.ending else ended_budget(state, time)
        if use is not None:
            return BudgetEnded(at=at, budget=use.budget, limit=use.limit, reason=use.reason)
        return None if state.ending or not confirm.is_on else self._reserved(time, at)

    def _reserved(self, time: ServedTime, at: float) -> BudgetEnded | None:
        """Return the record of a budget of hours whose rest is only just enough for search.confirm, if there is one."""
        if any(self._state.trials[trial_id].ended is None for trial_id in self._state.repetitions):
            return None  # the search itself has ended otherwise
        remaining = self._reserve.remaining(time)
        if remaining is None or min(remaining.served_s, remaining.leased_s) > 0:
            return None
        name = HOURS[0] if remaining.served_s <= 0 else HOURS[1]
        use = next(use for use in budget_uses(self._state, time) if use.name == name)
        hours = use.limit - (use.used or 0.0)
        reason = f"{use.reason.removesuffix(')')}, of which {hours:.2g} h are reserved for search.confirm)"
        return BudgetEnded(at=at, budget=use.budget, limit=use.limit, reason=reason, reserved=True)

    def _ending_of(self, trial: Trial) -> BudgetEnding | None:
        """Return the budget or the request that ends this trial; None if there is none."""
        ending = self._state.ending
        if trial.ending:
            return trial.ending
        return ending if ending and (trial.repeats is None or ending.ends_everything) else None

    def after_epoch(self, trial: Trial, at: float) -> Ended | None:
        """Return the end of a trial that must stop after the epoch that it has just reported; None if it continues."""
        if trial.best_epoch is None or max(trial.epochs) + 1 >= epochs_of(self._state, trial):
            return None  # the trial has no score, or ends with this epoch anyway
        if ending := self._ending_of(trial):
            return self._stopped(trial, ending.sentence, at, ending.budget)
        reason = self._over_minutes(trial, self._state.time.served_s)
        return self._stopped(trial, reason, at, MAX_MINUTES) if reason else None

    def overdue(self, trials: Iterable[TrialId], served_s: float, at: float) -> Iterator[Ended | AttemptEnded]:
        """Yield the ends of the leased trials that must stop within an epoch, because the time of grace has passed.

        Their workers then learn from the next heartbeat that they must abandon the epoch.
        """
        state, now_s = self._state, time_at(self._state, served_s).served_s
        grace_s = state.settings.search.grace_minutes * 60
        for trial in [state.trials[trial_id] for trial_id in trials]:
            # a trial that a user has stopped needs a score to end with
            ending = None if trial.ending and trial.best_epoch is None else self._ending_of(trial)
            ending = ending if ending and now_s - ending.at_s >= grace_s else None
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
        """Return the end of an interrupted trial that its own budget or a user stops; None if it must be queued again.

        A trial without a score is queued again, because it has nothing to end with.
        """
        trial = self._state.trials[attempt.trial]
        if trial.best_epoch is None:
            return None
        if trial.ending:
            return self._stopped(trial, trial.ending.sentence, attempt.at, trial.ending.budget)
        reason = self._over_minutes(trial, time_at(self._state, served_s).served_s)
        return self._stopped(trial, reason, attempt.at, MAX_MINUTES) if reason else None

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

    def withdrawn(self, queued: Iterable[TrialId], at: float) -> Iterator[Withdrawn]:
        """Yield the ends of queued trials that have a score, if a budget has ended the search."""
        for trial in [self._state.trials[trial_id] for trial_id in queued]:
            ending = self._ending_of(trial)
            if ending and trial.best_epoch is not None and trial.state is TrialState.QUEUED:
                yield withdrawn(self._state, trial, ending, at)

    def finished(self, at: float) -> Finished:
        """Return the record that ends the search."""
        ending = self._state.ending
        if ending is None:
            return Finished(at=at, reason="all trials have ended")
        # a search that a user has stopped continues like one whose trials have ended: with more trials
        return Finished(at=at, reason=ending.sentence, budget="" if ending.is_requested else ending.budget)

    def _over_minutes(self, trial: Trial, served_s: float, grace_s: float = 0.0) -> str:
        minutes = self._state.settings.training.max_minutes
        if minutes is None or trial.work.total_s(served_s) < minutes * 60 + grace_s:
            return ""
        return f"ended by {MAX_MINUTES} ({minutes:g} min)"
