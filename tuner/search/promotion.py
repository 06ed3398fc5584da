"""Early stopping by promotion: asynchronous successive halving (ASHA), which pauses trials.

Li, Jamieson, Rostamizadeh, Gonina, Hardt, Recht, Talwalkar: A System for Massively Parallel Hyperparameter
Tuning, MLSys 2020, https://arxiv.org/abs/1810.05934 (algorithm 2).

A trial that reaches a rung is paused there, with its checkpoint. A trial at a rung can be promoted if it is among the
best `1/reduction_factor` of all trials that have reached the rung, rounded down. A promoted trial is trained to its
next rung, or to its last epoch if that comes first. Trials are compared by their best objective up to the rung, as by
`tuner.search.early_stopping`; trials with equal objectives are sorted by id. Failed trials are not counted.

The paper does not say how a search with a limited number of trials ends. Here, once the algorithm has no further
suggestion, the best paused trials are resumed until the best `finalists` trials of the search are completed.

Differences from the paper:

- The best trial of a rung can always be promoted, except at the lowest rung. In the paper, it waits until
  `reduction_factor` trials have reached its rung. So with the defaults, 27 trials are needed before the first of them
  is trained for more than 9 epochs. In simulated searches with 2 workers, good models were found 14 % earlier than with
  the paper's rule in the geometric mean (docs/early-stopping.md).
- Only the paper's most aggressive bracket is used.
- A trial continues without a pause if its worker would get the same trial or none, or if its next rung is closer than
  a restart costs. A trial whose objective has not been finite up to a rung, or whose model was not saved there, is not
  paused.
"""

from bisect import bisect_left, bisect_right, insort
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from heapq import merge
from math import inf
from operator import itemgetter

from tuner.config.settings import Policy
from tuner.names import TrialId
from tuner.study.budgets import budget_uses
from tuner.study.ending import HOURS
from tuner.study.records import TrialState
from tuner.study.rungs import epochs_at, kept_of
from tuner.study.state import StudyState
from tuner.study.trial import Trial

NEXT_IN_LINE = 20
"""Number of paused trials of each rung that keep their models if any number of trials may follow. With the default
`reduction_factor`, 60 worse trials must reach the rung before a trial behind them is promoted."""

_Place = tuple[float, TrialId]
"""A trial's place among others, the best first: the sort key of its objective, and its id."""


class Promotion:
    """The trials at each rung, and which of the paused ones continue next.

    Everything depends only on the study's state, so a restarted chief makes the same decisions as the chief before it.
    A decision takes O(log trials) comparisons.
    """

    def __init__(self, state: StudyState) -> None:
        self._state = state
        self._sort_key = state.objective.sort_key
        self._settings = state.settings.search.early_stopping
        self._reached: defaultdict[int, list[_Place]] = defaultdict(list)
        self._paused: defaultdict[int, list[_Place]] = defaultdict(list)
        self._by_score: list[_Place] = []
        """All paused trials, by their best objective."""
        self._completed: list[float] = []
        """Sort keys of the completed trials' scores."""
        for trial in state.suggested:
            if trial.state is not TrialState.FAILED:
                for rung in trial.rungs:
                    self.reach(trial, rung)
            if trial.state is TrialState.PAUSED:
                self.pause(trial)
            elif trial.state is TrialState.COMPLETED:
                self.complete(trial)

    # ---- what happens to trials -----------------------------------------------------------------

    def reach(self, trial: Trial, rung: int) -> None:
        """Count a trial that has reached a rung."""
        insort(self._reached[rung], self._place(trial, rung))

    def pause(self, trial: Trial) -> None:
        """Add a trial that waits at its highest rung."""
        rung = max(trial.rungs)
        insort(self._paused[rung], self._place(trial, rung))
        insort(self._by_score, (self._best(trial), trial.trial_id))

    def resume(self, trial: Trial) -> None:
        """Remove a trial that no longer waits."""
        rung = max(trial.rungs)
        _remove(self._paused[rung], self._place(trial, rung))
        _remove(self._by_score, (self._best(trial), trial.trial_id))

    def complete(self, trial: Trial) -> None:
        """Count a trial that was trained to its end."""
        insort(self._completed, self._best(trial))

    def forget(self, trial: Trial) -> None:
        """Exclude a trial that is about to fail from comparisons."""
        for rung in trial.rungs:
            _remove(self._reached[rung], self._place(trial, rung))

    # ---- which trial continues ------------------------------------------------------------------

    def promotable(self, worker: str = "") -> TrialId | None:
        """Return the best promotable trial of the highest rung that has one; None if there is none.

        If the worker trained one of the promotable trials of that rung last, it is preferred.
        """
        for rung in sorted(self._paused, reverse=True):
            if trials := self._promotable_at(rung):
                return self.preferred(trials, worker)
        return None

    def promotable_count(self) -> int:
        """Return the number of trials that can be promoted now."""
        return sum(len(self._promotable_at(rung)) for rung in self._paused)

    def finalists(self, active: Iterable[Trial]) -> list[TrialId]:
        """Return the paused trials that must be completed, although no rung promotes them; the best first.

        A paused trial is one of them if fewer than `search.finalists` other trials are better and are completed, active
        or finalists themselves.
        """
        wanted = self._state.settings.search.finalists
        running = [self._best(trial) for trial in active]
        chosen: list[TrialId] = []
        for key, trial_id in self._by_score[:wanted]:
            better = bisect_right(self._completed, key) + sum(best <= key for best in running)
            if better + len(chosen) >= wanted:
                break
            chosen.append(trial_id)
        return chosen

    def continuing(self) -> set[TrialId]:
        """Return the paused trials that would continue: the promotable ones, and the finalists if none is active."""
        promotable = [trial for rung in self._paused for trial in self._promotable_at(rung)]
        return {*promotable, *self.finalists([])}

    def ranked(self, active: Iterable[Trial]) -> Iterator[TrialId | None]:
        """Yield the trials at rungs by their best objective, the best first: active, paused and completed ones.

        None stands for a completed trial.
        """
        completed: Iterable[tuple[float, TrialId | None]] = ((key, None) for key in self._completed)
        running = sorted((self._best(trial), trial.trial_id) for trial in active if trial.rungs)
        return (trial_id for _, trial_id in merge(completed, running, self._by_score, key=itemgetter(0)))

    def preferred(self, trials: Sequence[TrialId], worker: str) -> TrialId:
        """Return the first of these trials that this worker trained last; the first of all if there is none."""
        return next((trial for trial in trials if self._state.trials[trial].worker == worker), trials[0])

    def preferred_finalist(self, worker: str, active: Iterable[Trial]) -> TrialId | None:
        """Return the finalist that this worker should resume; None if there is none."""
        return self.preferred(finalists, worker) if (finalists := self.finalists(active)) else None

    def is_needless(self, trial: Trial) -> bool:
        """Return whether nothing is gained if a running trial continues at the end of a search.

        That is so if its rung would not promote it, and `search.finalists` better trials are completed.
        """
        if not trial.rungs:
            return False
        rung = max(trial.rungs)
        place = self._place(trial, rung)
        if bisect_left(self._reached[rung], place) < self._kept(rung):
            return False
        return bisect_right(self._completed, self._best(trial)) >= self._state.settings.search.finalists

    def reason(self, trial: Trial) -> str:
        """Return why a trial waits at its highest rung, as the command `trials` prints it."""
        rung = max(trial.rungs)
        reached, kept = self._reached[rung], self._kept(rung)
        where = f"rung {rung} (epoch {epochs_at(self._settings, rung)}): "
        if bisect_left(reached, self._place(trial, rung)) < kept:
            return where + "another trial continues first"
        name, value = self._state.objective.name, trial.rungs[rung]
        if kept == 0:
            return where + f"fewer than {self._settings.reduction_factor} trials have reached it"
        best = "the best" if kept == 1 else f"among the best {kept}"
        return where + f"{name} {value:.4f} is not {best} of {len(reached)}"

    def hopeless(self, spare: int) -> set[TrialId]:
        """Return the paused trials that cannot be promoted even if all trials that may still reach their rung do.

        Without `search.max_trials`, twice as many further trials are expected as the hours of the search permit, by the
        rate so far. Without a budget of hours, all but the best NEXT_IN_LINE paused trials of each rung are returned.
        Those with one of the best `spare` places at their rung, or with one of the best `spare` scores, are left out.
        A trial's place becomes better if better trials fail, so twice the share of trials that have failed may fail.
        """
        found: set[TrialId] = set()
        trials = self._state.suggested
        coming = self._trials_to_come()
        if coming is None:
            most = max(NEXT_IN_LINE, spare)
            found = {trial_id for paused in self._paused.values() for _, trial_id in paused[most:]}
            return found - {trial_id for _, trial_id in self._by_score[:spare]}
        failing = min(1.0, 2 * sum(trial.state is TrialState.FAILED for trial in trials) / max(1, len(trials)))
        # place p of n trials becomes p - failing * p of n - failing * p
        factor = self._settings.reduction_factor - failing * (self._settings.reduction_factor - 1)
        active = [trial for trial in trials if trial.state in (TrialState.QUEUED, TrialState.RUNNING)]
        for rung in sorted(self._reached):
            coming += sum(max(trial.rungs, default=-1) == rung - 1 for trial in active)
            reached, paused = self._reached[rung], self._paused[rung]
            kept = max(int((len(reached) + coming) / factor), spare)
            first = bisect_left(paused, reached[kept]) if kept < len(reached) else len(paused)
            found |= {trial_id for _, trial_id in paused[first:]}
            coming += first
        return found - {trial_id for _, trial_id in self._by_score[:spare]}

    def _trials_to_come(self) -> int | None:
        """Return how many further trials there may be; None if there may be any number."""
        count = self._state.suggested_count
        if (most := self._state.settings.search.max_trials) is not None:
            return max(0, most - count)
        shares = [use.used / use.limit for use in budget_uses(self._state) if use.name in HOURS and use.used]
        return int(2 * count * max(0.0, 1 / max(shares) - 1)) if shares else None

    # ---- inside ---------------------------------------------------------------------------------

    def _place(self, trial: Trial, rung: int) -> _Place:
        return self._sort_key(trial.rungs[rung]), trial.trial_id

    def _best(self, trial: Trial) -> float:
        """Return the sort key of a trial's best objective so far."""
        if trial.best_epoch is None or trial.best_epoch not in trial.epochs:
            return inf
        return self._sort_key(trial.epochs[trial.best_epoch][self._state.objective.name])

    def _kept(self, rung: int) -> int:
        return kept_of(self._settings, rung, len(self._reached[rung]))

    def _promotable_at(self, rung: int) -> list[TrialId]:
        reached, kept = self._reached[rung], self._kept(rung)
        last = reached[kept - 1] if kept else (-inf, TrialId(""))
        paused = self._paused[rung]
        return [trial_id for _, trial_id in paused[: bisect_right(paused, last)]]


def unpromotable(state: StudyState, spare: int) -> set[TrialId]:
    """Return the paused trials that no further trial can make promotable.

    As more trials reach a rung, a trial's place at it can only become worse. So a trial can still be promoted only if
    its place would be good enough once all trials have reached the rung. Trials that could be finalists, and the best
    `spare` trials of each rung, are never returned.
    """
    search = state.settings.search
    if search.early_stopping.policy is not Policy.PROMOTION:
        return set()
    return Promotion(state).hopeless(max(spare, search.finalists))


def _remove(places: list[_Place], place: _Place) -> None:
    del places[bisect_left(places, place)]
