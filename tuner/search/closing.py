"""When a search with promotion starts no more trials, so that its finalists are complete before a budget ends.

When a budget of hours (`search.max_hours`, `search.max_worker_hours`) ends, most trials are paused or far from their
last epoch. Therefore, as soon as the remaining hours are only just enough to train the best `search.finalists` trials
to their last epoch, these finalists continue, no new trial starts, and other running trials are paused if the finalists
need their workers or their hours.

A trial is a finalist only if it can be completed in time, according to its measured seconds per epoch. A better trial
that has too many epochs left is passed over, so the best trial of a search may be one that is not complete.
"""

from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, field
from operator import add

from tuner.names import TrialId
from tuner.search.capacity import Capacity, epoch_s, makespan_s
from tuner.search.promotion import Promotion
from tuner.search.reserve import Reserve
from tuner.study.budgets import RemainingHours
from tuner.study.progress import epochs_of
from tuner.study.state import StudyState
from tuner.study.trial import Trial


@dataclass
class _Finalists:
    """The trials that are to be completed, best first, and the seconds that each of them needs."""

    trials: list[TrialId] = field(default_factory=list)
    needs_s: list[float] = field(default_factory=list)

    def served_s(self, workers: int) -> float:
        """Return the time in which this number of workers completes all of them, at the latest."""
        return makespan_s(self.needs_s, workers)

    def with_trial(self, trial: TrialId, need_s: float) -> "_Finalists":
        """Return these and one more."""
        return _Finalists([*self.trials, trial], [*self.needs_s, need_s])


class Closing:
    """Decides from the journal, up to its newest record, whether the search must only complete its finalists."""

    def __init__(self, state: StudyState, promotion: Promotion, capacity: Capacity, reserve: Reserve) -> None:
        self._state = state
        self._promotion = promotion
        self._capacity = capacity
        self._reserve = reserve
        self._is_closing = False
        self._workers = 1

    @property
    def is_exclusive(self) -> bool:
        """Whether other trials would use up the hours that the finalists need."""
        return self._state.settings.search.max_worker_hours is not None

    def finalists(self, active: Sequence[Trial]) -> list[TrialId]:
        """Return the trials that must be completed now; none if there is time for other trials too.

        Args:
            active: The trials that are leased, and those whose attempts were interrupted.
        """
        remaining, self._workers = self._reserve.remaining(), self._capacity.count_workers()
        if remaining is None or self._is_far(remaining, len(active)):
            self._is_closing = False
            return []
        chosen = self._chosen(active, remaining)
        of_active = [seconds for trial in active if (seconds := epoch_s(trial)) is not None]
        # each finalist may take one epoch longer than expected, and two before other trials start again
        spare_epochs = 2 if self._is_closing else 1
        of_chosen = [spare_epochs * (epoch_s(self._state.trials[trial]) or 0.0) for trial in chosen.trials]
        needs = _Finalists(chosen.trials, list(map(add, chosen.needs_s, of_chosen)))
        # the workers of other trials become free after the epochs that they train
        is_due = (
            needs.served_s(self._workers) + max(of_active, default=0.0) >= remaining.served_s
            or sum(needs.needs_s) + sum(of_active) >= remaining.leased_s
        )
        self._is_closing = is_due and bool(chosen.trials)
        return chosen.trials if self._is_closing else []

    def _is_far(self, remaining: RemainingHours, active: int) -> bool:
        """Return whether there is time for far more than the finalists, which saves comparing all active trials."""
        search, whole = self._state.settings.search, self._state.settings.training.epochs
        trials_s = (search.finalists * (whole + 2) + 2) * self._capacity.slowest_s
        return remaining.served_s > trials_s and remaining.leased_s > trials_s + active * self._capacity.slowest_s

    def _chosen(self, active: Sequence[Trial], remaining: RemainingHours) -> _Finalists:
        """Return the best trials that can be completed in the remaining hours.

        Complete trials take their places. If not all places can be filled with the best trials, because these need too
        much time, those that need the least time are preferred, of which more can be completed.
        """
        active_ids = {trial.trial_id for trial in active}
        ranked = self._promotion.ranked(active)
        best, places = self._filled(ranked, active_ids, remaining, self._state.settings.search.finalists)
        if not places:
            return best
        incomplete = [trial for trial in self._promotion.ranked(active) if trial is not None]
        by_need = sorted(incomplete, key=lambda trial: self._need_s(trial, active_ids) or 0.0)
        shortest, _ = self._filled(by_need, active_ids, remaining, places + len(best.trials))
        return shortest if len(shortest.trials) > len(best.trials) else best

    def _filled(
        self, trials: Iterable[TrialId | None], active: Container[TrialId], remaining: RemainingHours, places: int
    ) -> tuple[_Finalists, int]:
        """Return the first of these trials that can be completed together, and the number of places that are left."""
        chosen = _Finalists()
        for trial_id in trials:
            if places == 0:
                break
            if trial_id is None:  # it is complete
                places -= 1
                continue
            if (need_s := self._need_s(trial_id, active)) is None:
                continue
            # an active trial may finish the epoch in which a budget ends
            late_s = (epoch_s(self._state.trials[trial_id]) or 0.0) if trial_id in active else 0.0
            more = chosen.with_trial(trial_id, need_s)
            fits = more.served_s(self._workers) <= remaining.served_s + late_s
            if fits and sum(more.needs_s) <= remaining.leased_s + late_s:
                chosen, places = more, places - 1
        return chosen, places

    def _need_s(self, trial_id: TrialId, active: Container[TrialId]) -> float | None:
        """Return the seconds that a trial needs to its last epoch; None if they are not known."""
        trial = self._state.trials[trial_id]
        if (seconds := epoch_s(trial)) is None:
            return None
        epochs = epochs_of(self._state, trial) - max(trial.epochs) - 1
        return epochs * seconds + (0.0 if trial_id in active else trial.start_s or 0.0)
