"""The hours that a search leaves for the trainings of search.confirm, which its budgets of hours include.

The search ends as soon as its remaining hours are only just enough to train its best trials again, judging by their
seconds per epoch so far. At most half of a budget is reserved, so that a short one is not used up by a search without
trials. If the trainings take longer than expected, the budget ends them, and only the complete ones count.
"""

from statistics import fmean

from tuner.search.capacity import Capacity, makespan_s, mean_epoch_s
from tuner.search.repetitions import distinct
from tuner.study.budgets import HOUR_S, RemainingHours, remaining_hours
from tuner.study.progress import epochs_of
from tuner.study.records import TrialState
from tuner.study.state import StudyState
from tuner.study.trial import Trial
from tuner.study.work_time import ServedTime

MOST = 0.5
"""Largest share of a budget that is reserved."""


class Reserve:
    """Estimates from the journal, up to its newest record, what search.confirm will need."""

    def __init__(self, state: StudyState, capacity: Capacity) -> None:
        self._state = state
        self._capacity = capacity
        self._best: list[Trial] = []
        """The trials that would be trained again if the search ended now."""
        self._steps = 0
        """Number of steps of the search when they were chosen."""

    def without(self, remaining: RemainingHours) -> RemainingHours:
        """Return what is left of the remaining hours for the search. Negative if search.confirm will not fit."""
        search = self._state.settings.search
        needs_s = self._needs_s()
        if not needs_s:
            return remaining
        # running trials finish their epoch first
        spare_s = self._capacity.slowest_s
        served_s = makespan_s(needs_s, self._capacity.count_workers()) + spare_s
        leased_s = sum(needs_s) + spare_s * self._state.time.leases
        return RemainingHours(
            remaining.served_s - min(served_s, _most_s(search.max_hours)),
            remaining.leased_s - min(leased_s, _most_s(search.max_worker_hours)),
        )

    def remaining(self, time: ServedTime | None = None) -> RemainingHours | None:
        """Return what remains of the budgets of hours for the search; None if none is set. `time` as in budgets."""
        remaining = remaining_hours(self._state, time)
        return None if remaining is None else self.without(remaining)

    def _needs_s(self) -> list[float]:
        """Return the seconds that each training needs."""
        confirm = self._state.settings.search.confirm
        if not confirm.is_on:
            return []
        if self._steps != len(self._state.steps) or not self._best:
            self._steps = len(self._state.steps)
            paused = [trial for trial in self._state.suggested if trial.state is TrialState.PAUSED]
            scored = [*self._state.ranked(self._state.suggested), *paused]
            key = self._state.objective.sort_key
            scored.sort(key=lambda trial: (key(trial.score or 0.0), trial.trial_id))
            self._best = distinct(scored, confirm.best)
        done: dict[str, int] = {}
        for trial_id in self._state.repetitions:
            trial = self._state.trials[trial_id]
            done[trial.repeats or ""] = done.get(trial.repeats or "", 0) + (trial.ended is not None)
        needs: list[float] = []
        for trial in self._best:
            if (need_s := self._need_s(trial)) is not None:
                needs += [need_s] * (confirm.seeds - done.get(trial.trial_id, 0))
        if not needs and not self._best:
            needs = [self._slowest_need_s()] * confirm.trainings if self._capacity.slowest_s else []
        elif needs and len(self._best) < confirm.best:
            needs += [fmean(needs)] * (confirm.seeds * (confirm.best - len(self._best)))
        return needs

    def _need_s(self, trial: Trial) -> float | None:
        seconds = mean_epoch_s(trial)
        # each training may take one epoch longer than expected
        return None if seconds is None else self._limited(seconds * (epochs_of(self._state, trial) + 1))

    def _slowest_need_s(self) -> float:
        return self._limited(self._capacity.slowest_s * (self._state.settings.training.epochs + 1))

    def _limited(self, seconds: float) -> float:
        minutes = self._state.settings.training.max_minutes
        return seconds if minutes is None else min(seconds, minutes * 60)


def _most_s(hours: float | None) -> float:
    return 0.0 if hours is None else MOST * hours * HOUR_S
