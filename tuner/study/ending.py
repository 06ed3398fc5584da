"""The end of a search by one of its budgets, as the journal records it."""

from dataclasses import dataclass

from tuner.config.settings import Study

HOURS = ("max_hours", "max_worker_hours")
"""The budgets that are hours."""


@dataclass(frozen=True)
class BudgetEnding:
    """The end of a budget."""

    budget: str
    """Key of the setting."""
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
        """Whether no training may follow the search (search.confirm), because no hours remain."""
        return self.budget.removeprefix("search.") in HOURS and not self.reserved

    @property
    def sentence(self) -> str:
        """The reason of a trial or a search that the budget ended."""
        return f"ended by {self.reason}"


def limit_of(study: Study, budget: str) -> float | None:
    """Return the value of the setting of a budget, such as `search.max_hours`; None if it is not set."""
    limit: float | None = getattr(study.search, budget.removeprefix("search."), None)
    return limit
