"""What the records of a journal say of one trial, in the checker's own bookkeeping."""

from collections import Counter
from dataclasses import dataclass, field
from math import isnan
from typing import Any

from tuner.names import TrialId
from tuner.study.records import Ended, Outcome, Withdrawn


@dataclass
class Account:
    """One trial, as its records add up."""

    trial: TrialId
    hyperparameters: dict[str, Any]
    repeats: TrialId | None = None
    """The trial that this one trains again with another seed."""
    attempts: int = 0
    running: bool = False
    paused: bool = False
    rungs: dict[int, float] = field(default_factory=dict)
    """The best objective with which the trial had trained so many epochs, where a rung is, when it first had."""
    ended: Ended | Withdrawn | None = None
    values: dict[int, float] = field(default_factory=dict)
    """The objective by epoch."""
    checkpoints: dict[int, str] = field(default_factory=dict)
    spent: Counter[Outcome] = field(default_factory=Counter)
    reported_by_attempt: int = 0
    hopeless_after: int | None = None
    """How many trials had failed when this one lost its models, because no rung would promote it any more."""

    @property
    def first_epoch(self) -> int:
        """The epoch that the trial begins with; Hyperband's later rungs go on from another trial."""
        return int(self.hyperparameters.get("tuner/initial_epoch", 0))

    @property
    def newest(self) -> str | None:
        """The saved model that the next attempt goes on from."""
        return self.checkpoints[max(self.checkpoints)] if self.checkpoints else None

    def best_epoch(self, direction: str) -> int | None:
        """The first epoch with the best objective."""
        values = {epoch: value for epoch, value in self.values.items() if not isnan(value)}
        if not values:
            return None
        best = (max if direction == "max" else min)(values.values())
        return min(epoch for epoch, value in values.items() if value == best)
