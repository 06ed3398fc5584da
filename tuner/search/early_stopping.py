"""Early stopping by asynchronous successive halving (ASHA): which trials continue beyond a rung.

Li, Jamieson, Rostamizadeh, Gonina, Hardt, Recht, Talwalkar: A System for Massively Parallel Hyperparameter
Tuning, MLSys 2020, https://arxiv.org/abs/1810.05934.

Rung k is at `min_epochs * reduction_factor**k` epochs. A trial that reaches a rung is compared, at once, with all
trials that have reached it so far, and continues if it is among the best `1/reduction_factor` of them, rounded down.
What is compared is the best objective up to the rung, not the one at the rung: a trial is scored by its best epoch,
whose model is kept, and one bad epoch of a noisy optimizer should not end it.

- While fewer than `reduction_factor` trials have reached a rung, all of them continue at the lowest rung, where scores
  are noisy, and only the best so far at later ones. The paper would hold them back instead.
- The first `reduction_factor` trials at a rung are compared there again after each epoch until the next rung, because
  they had no others to be compared with. Such a trial is stopped only if one that was better at the rung still is.
- A trial that is as good as the last of the best continues: nothing tells which of the two is better.
- A failed trial is no longer compared with: it cannot win, so it must not hold others back.
- A trial whose objective was never finite up to a rung has nothing to compare; it continues and is not counted.

Limitations: this is the paper's stopping variant, which does not pause trials and resume them later ("promotion"). It
needs no paused models and frees the worker at once, but a trial that is stopped among the first few is not resumed
even if later ones are worse. There is the paper's most eager bracket only, no rung waits until it is full (that is
what "asynchronous" means), and epochs are the only cost.
"""

from bisect import bisect_left, insort
from collections import defaultdict
from dataclasses import dataclass
from math import nan

from tuner.config.settings import EarlyStopping
from tuner.study.objective import Objective
from tuner.study.records import TrialState
from tuner.study.rungs import epochs_at, kept_of
from tuner.study.state import StudyState, Trial


@dataclass(frozen=True)
class Stop:
    """Why a trial is stopped: it is not among the best `kept` of `reached`."""

    rung: int
    epochs: int
    value: float
    kept: int
    reached: int

    def sentence(self, objective: str) -> str:
        """Return the reason as `trials` prints it."""
        best = "the best" if self.kept == 1 else f"among the best {self.kept}"
        return f"rung {self.rung} (epoch {self.epochs}): {objective} {self.value:.4f} is not {best} of {self.reached}"


class Rungs:
    """The values with which trials have reached each rung, kept sorted: a decision takes O(log trials) comparisons."""

    def __init__(self, settings: EarlyStopping, objective: Objective) -> None:
        self._settings = settings
        self._sort_key = objective.sort_key
        self._reached: defaultdict[int, list[float]] = defaultdict(list)

    def add(self, rung: int, value: float) -> None:
        """Count a trial that has reached a rung."""
        insort(self._reached[rung], self._sort_key(value))

    def remove(self, rung: int, value: float) -> None:
        """Stop counting a trial, which was added with this value."""
        reached = self._reached[rung]
        del reached[bisect_left(reached, self._sort_key(value))]

    def judge(self, rung: int, value: float) -> Stop | None:
        """Decide on a trial that is counted at this rung; None if it continues."""
        reached = self._reached[rung]
        better = bisect_left(reached, self._sort_key(value))
        kept = kept_of(self._settings, rung, len(reached))
        if kept == 0 or better < kept:
            return None
        return Stop(rung, epochs_at(self._settings, rung), value, kept, len(reached))


class SuccessiveHalving:
    """Decides, after each epoch, whether the trial that has trained it continues.

    All that a decision depends on is the study's state, so a restarted chief decides as the one before it.
    """

    def __init__(self, state: StudyState) -> None:
        self._state = state
        self._rungs = Rungs(state.settings.search.early_stopping, state.objective)
        for trial in state.trials.values():
            if trial.state is not TrialState.FAILED:
                for rung, value in trial.rungs.items():
                    self._rungs.add(rung, value)

    def forget(self, trial: Trial) -> None:
        """Stop comparing others with a trial, which is about to fail."""
        for rung, value in trial.rungs.items():
            self._rungs.remove(rung, value)

    def after_epoch(self, trial: Trial, new_rung: int | None, stock: bool) -> Stop | None:
        """Decide on a trial that has reported an epoch; None if it continues.

        Args:
            trial: The trial, with the epoch.
            new_rung: The rung that the trial has reached with this epoch, if any.
            stock: Whether one of Keras Tuner's own workers trains it.
        """
        if new_rung is not None:
            self._rungs.add(new_rung, trial.rungs[new_rung])
        if max(trial.epochs) + 1 >= self._state.settings.training.epochs:
            return None  # it is trained to its end
        if new_rung is not None:
            if stock and len(trial.epochs) == 1:
                return None  # Keras Tuner 1.4 reports once, after the training, as of its best epoch
            return self._rungs.judge(new_rung, trial.rungs[new_rung])
        return None if stock else self._judge_again(trial)

    def _judge_again(self, trial: Trial) -> Stop | None:
        """Decide on a trial between two rungs that was one of the first at the rung before."""
        settings, rung = self._state.settings.search.early_stopping, max(trial.rungs, default=-1)
        if trial.trial_id not in self._state.first.get(rung, ()):
            return None
        if max(trial.epochs) < epochs_at(settings, rung):
            return None  # a new attempt trains it again, and has not reached that rung yet
        stop = self._rungs.judge(rung, trial.rungs[rung])
        return stop if stop and self._is_behind(trial, rung) else None

    def _is_behind(self, trial: Trial, rung: int) -> bool:
        """Return whether another trial was better at the rung and still is, by the best epoch of each so far."""
        objective = self._state.objective

        def best(of: Trial) -> float:
            return nan if of.best_epoch is None else of.epochs[of.best_epoch][objective.name]

        return any(
            objective.is_better(other.rungs[rung], trial.rungs[rung]) and objective.is_better(best(other), best(trial))
            for other in self._state.trials.values()
            if rung in other.rungs and other.state is not TrialState.FAILED
        )
