"""The best results of a search so far, and how long they have been the best."""

from dataclasses import dataclass

from tuner.study.objective import Objective


@dataclass
class Improvement:
    """The best objective of any epoch, and the best score of any trial that has ended."""

    best_value: float | None = None
    """The best objective that a trial has reported; None if no epoch had a finite one."""
    best_score: float | None = None
    trials_since: int = 0
    """Number of trials that ended, or were paused first, with a score that was not better, since the best value or the
    best score has improved."""

    def report(self, objective: Objective, value: float) -> None:
        """Count the objective of a trial's best epoch so far."""
        if self.best_value is None or objective.is_better(value, self.best_value):
            self.best_value, self.trials_since = value, 0

    def end(self, objective: Objective, score: float | None, is_known: bool = False) -> None:
        """Count a trial that has ended or was paused with this score. `is_known`: it was counted when it was paused."""
        if score is None:
            return
        if self.best_score is None or objective.is_better(score, self.best_score):
            self.best_score, self.trials_since = score, 0
        else:
            self.trials_since += not is_known
