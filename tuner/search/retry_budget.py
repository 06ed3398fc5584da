"""The retry budgets of a trial: how often it is tried again, by the outcome of the attempt that failed."""

from dataclasses import dataclass

from tuner.config.settings import Retries
from tuner.study.records import Outcome
from tuner.study.trial import Trial


@dataclass(frozen=True)
class RetryBudget:
    """A retry budget, and how much of it a trial has spent. Several outcomes may share one."""

    limit: int
    setting: str
    """Name of the setting; empty for outcomes that are never retried."""
    spent: int

    def explained(self, reason: str, attempt: int) -> str:
        """Return the reason of the last attempt, with the budget that it has used up."""
        if not self.limit:
            return reason
        sentence, newline, trace = reason.partition("\n")
        return f"{sentence} (attempt {attempt}; {self.setting} is {self.limit}){newline}{trace}"


def retry_budget(trial: Trial, outcome: Outcome, retries: Retries) -> RetryBudget:
    """Return the budget from which another attempt at the trial is paid after this outcome."""
    budgets = {
        Outcome.PREEMPTED: (retries.preemption, "retries.preemption"),
        Outcome.LOST: (retries.preemption, "retries.preemption"),
        Outcome.FAILED: (retries.failure, "retries.failure"),
        Outcome.OUT_OF_MEMORY: (retries.out_of_memory, "retries.out_of_memory"),
        Outcome.INVALID: (0, ""),
    }
    limit, setting = budgets[outcome]
    shared = {other for other, (_, name) in budgets.items() if name == setting}
    return RetryBudget(limit, setting, sum(trial.outcomes[other] - trial.forgiven[other] for other in shared))
