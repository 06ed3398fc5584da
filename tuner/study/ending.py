"""The end of a search by one of its budgets or by a user, as the journal records it."""

from dataclasses import dataclass

from tuner.config.settings import Study

HOURS = ("max_hours", "max_worker_hours")
"""The budgets that are hours."""
STOP = "stop"
"""Stands for a budget's key if a user has stopped the trial or the search."""


@dataclass(frozen=True)
class BudgetEnding:
    """The end of a budget, or of a trial or a search that a user has stopped."""

    budget: str
    """Key of the setting, or STOP."""
    limit: float
    """Value of the setting."""
    reason: str
    """The budget and its limit as a text."""
    at_s: float
    """`ServedTime.served_s` of the moment when it ended."""
    reserved: bool = False
    """Whether it still lasts, and what remains of it is reserved for search.confirm."""

    @property
    def ends_everything(self) -> bool:
        """Whether no training may follow the search (search.confirm), because no hours remain or a user stopped it."""
        return self.is_requested or (self.budget.removeprefix("search.") in HOURS and not self.reserved)

    @property
    def is_requested(self) -> bool:
        """Whether a user has requested it."""
        return self.budget == STOP

    @property
    def sentence(self) -> str:
        """The reason of a trial or a search that the budget ended."""
        return f"ended by {self.reason}"


def requested_ending(at_s: float) -> BudgetEnding:
    """Return the end of a trial or a search that a user stops now. `at_s` is ServedTime.served_s."""
    return BudgetEnding(STOP, 0.0, "cifake-tune stop", at_s)


def limit_of(study: Study, budget: str) -> float | None:
    """Return the value of the setting of a budget, such as `search.max_hours`; None if it is not set."""
    limit: float | None = getattr(study.search, budget.removeprefix("search."), None)
    return limit


def continues(ending: BudgetEnding, finished: bool, study: Study) -> bool:
    """Return whether a search that had ended so continues if a chief is started with these settings.

    `finished` is whether it had finished. If so, a search that a user stopped is started again for more trials.
    Otherwise, its chief was replaced while it was ending.
    """
    return finished if ending.is_requested else limit_of(study, ending.budget) != ending.limit
