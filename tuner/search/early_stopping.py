"""Early stopping by asynchronous successive halving (ASHA), which decides which trials continue beyond a rung.

Li, Jamieson, Rostamizadeh, Gonina, Hardt, Recht, Talwalkar: A System for Massively Parallel Hyperparameter
Tuning, MLSys 2020, https://arxiv.org/abs/1810.05934.

Rung k is at `min_epochs * reduction_factor**k` epochs. A trial that reaches a rung is compared immediately with all
trials that have reached the rung so far. It continues if it is among the best `1/reduction_factor` of them, rounded
down. Trials are compared by their best objective up to the rung, not by their objective at the rung. The reason is that
a trial's score is that of its best epoch, whose model is kept, and that one bad epoch should not end a trial.

- While fewer than `reduction_factor` trials have reached a rung, the number of trials that continue depends on the
  rung. At the lowest rung, where scores are noisy, all of them continue. At later rungs, only the best so far
  continues. The paper would pause these trials instead.
- The first `reduction_factor` trials at a rung had few other trials to be compared with. Therefore they are compared at
  that rung again after each epoch until the next rung. Such a trial is stopped only if another trial was better at the
  rung and still is.
- A trial that ties with the last of the best also continues.
- Failed trials are excluded from comparisons. They cannot win, so they must not hold others back.
- A trial whose objective has not been finite up to a rung cannot be compared. It continues and is not counted.

Limitations: This is the stopping variant of the paper, which does not pause trials and resume them later ("promotion").
It stores no paused models and frees the worker immediately, but a trial that was stopped among the first few is not
resumed even if later trials are worse. Only the paper's most aggressive bracket is used. No rung waits until it is full
(that is what "asynchronous" means). Epochs are the only cost.
"""

from bisect import bisect_left, insort
from collections import defaultdict
from dataclasses import dataclass
from math import nan

from tuner.config.settings import EarlyStopping
from tuner.study.objective import Objective
from tuner.study.records import TrialState
from tuner.study.rungs import epochs_at, kept_of
from tuner.study.state import StudyState
from tuner.study.trial import Trial


@dataclass(frozen=True)
class Stop:
    """Why a trial is stopped: it is not among the best `kept` of the `reached` trials at a rung."""

    rung: int
    epochs: int
    value: float
    kept: int
    reached: int

    def sentence(self, objective: str) -> str:
        """Return the reason as the command `trials` prints it."""
        best = "the best" if self.kept == 1 else f"among the best {self.kept}"
        return f"rung {self.rung} (epoch {self.epochs}): {objective} {self.value:z.4f} is not {best} of {self.reached}"


class Rungs:
    """The objectives with which trials reached each rung, sorted so that a decision takes O(log trials) comparisons."""

    def __init__(self, settings: EarlyStopping, objective: Objective) -> None:
        self._settings = settings
        self._sort_key = objective.sort_key
        self._reached: defaultdict[int, list[float]] = defaultdict(list)

    def add(self, rung: int, value: float) -> None:
        """Count a trial that has reached a rung."""
        insort(self._reached[rung], self._sort_key(value))

    def remove(self, rung: int, value: float) -> None:
        """Stop counting a trial that was added with this value."""
        reached = self._reached[rung]
        del reached[bisect_left(reached, self._sort_key(value))]

    def judge(self, rung: int, value: float) -> Stop | None:
        """Return why a trial that is counted at this rung must stop; None if it continues."""
        reached = self._reached[rung]
        better = bisect_left(reached, self._sort_key(value))
        kept = kept_of(self._settings, rung, len(reached))
        if kept == 0 or better < kept:
            return None
        return Stop(rung, epochs_at(self._settings, rung), value, kept, len(reached))


class SuccessiveHalving:
    """Decides after each epoch whether the trial that has trained the epoch continues.

    A decision depends only on the study's state, so a restarted chief makes the same decisions as the chief before it.
    """

    def __init__(self, state: StudyState) -> None:
        self._state = state
        self._rungs = Rungs(state.settings.search.early_stopping, state.objective)
        for trial in state.suggested:
            if trial.state is not TrialState.FAILED:
                for rung, value in trial.rungs.items():
                    self._rungs.add(rung, value)

    def forget(self, trial: Trial) -> None:
        """Exclude a trial that is about to fail from comparisons."""
        for rung, value in trial.rungs.items():
            self._rungs.remove(rung, value)

    def after_epoch(self, trial: Trial, new_rung: int | None, stock: bool) -> Stop | None:
        """Return why a trial must stop after the epoch that it has just reported; None if it continues.

        Args:
            trial: The trial, which already includes that epoch.
            new_rung: The rung that the trial has reached with this epoch, if any.
            stock: Whether one of Keras Tuner's own workers trains the trial.
        """
        if new_rung is not None:
            self._rungs.add(new_rung, trial.rungs[new_rung])
        if trial.returned is not None or max(trial.epochs) + 1 >= self._state.settings.training.epochs:
            return None  # this was the trial's last epoch
        if new_rung is not None:
            if stock and len(trial.epochs) == 1:
                return None  # Keras Tuner 1.4 reports only once, after the training, for the best epoch
            return self._rungs.judge(new_rung, trial.rungs[new_rung])
        return None if stock else self._judge_again(trial)

    def _judge_again(self, trial: Trial) -> Stop | None:
        """Return why a trial between two rungs must stop; None if it continues.

        Only a trial that was one of the first at the rung before may have to stop.
        """
        settings, rung = self._state.settings.search.early_stopping, max(trial.rungs, default=-1)
        if trial.trial_id not in self._state.first.get(rung, ()):
            return None
        if max(trial.epochs) < epochs_at(settings, rung) or trial.best_epoch is None:
            return None  # a new attempt trains the trial again, and has not reached that rung or a finite objective yet
        stop = self._rungs.judge(rung, trial.rungs[rung])
        return stop if stop and self._is_behind(trial, rung) else None

    def _is_behind(self, trial: Trial, rung: int) -> bool:
        """Return whether another trial was better at the rung, and its best epoch so far is still better.

        What the other trial's `fit` returned is not compared, because no epoch of this trial has such a value.
        """
        objective = self._state.objective

        def best(of: Trial) -> float:
            epoch = of.best_epoch
            if of.returned is not None:
                epochs = {e: metrics[objective.name] for e, metrics in of.epochs.items() if e != of.returned}
                epoch = objective.best(epochs)
            return nan if epoch is None else of.epochs[epoch][objective.name]

        return any(
            objective.is_better(other.rungs[rung], trial.rungs[rung]) and objective.is_better(best(other), best(trial))
            for other in self._state.suggested
            if rung in other.rungs and other.state is not TrialState.FAILED
        )
