"""The budgets of a search: how much of each is used, which one has ended, and how long the others will last.

A budget is a setting of `search`: max_hours, max_worker_hours, target or patience_trials. What is used of it is
computed from the journal, so that a restart of the chief resets nothing.
"""

from dataclasses import dataclass, replace
from math import inf

from tuner.config.settings import Study
from tuner.study.ending import HOURS
from tuner.study.state import StudyState
from tuner.study.work_time import ServedTime

HOUR_S = 3600.0


@dataclass(frozen=True)
class BudgetUse:
    """How much of a budget is used."""

    budget: str
    """Key of the setting, such as `search.max_hours`."""
    limit: float
    """Value of the setting."""
    used: float | None
    """In the unit of the limit; None if no epoch has an objective to be compared with `search.target`."""
    has_ended: bool
    unit: str
    """`h`, `trials`, or the name of the objective."""

    @property
    def name(self) -> str:
        """The setting without its section."""
        return self.budget.removeprefix("search.")

    @property
    def base_limit(self) -> float:
        """The limit in seconds, if its unit is hours, for metrics."""
        return self.limit * HOUR_S if self.name in HOURS else self.limit

    @property
    def base_used(self) -> float | None:
        """What is used in seconds, if its unit is hours, for metrics."""
        return self.used * HOUR_S if self.name in HOURS and self.used is not None else self.used

    @property
    def reason(self) -> str:
        """The budget and its limit, such as `search.max_hours (1.5 h)`."""
        return f"{self.budget} ({self._with_unit(f'{self.limit:g}')})"

    @property
    def text(self) -> str:
        """How much of the limit is used, such as `0.75 of 1.5 h`."""
        if self.used is None:
            return f"{self._with_unit(f'{self.limit:g}')}, no value yet"
        if self.budget == "search.target":
            return f"{self.unit} {self.used:.4f}, the target is {self.limit:g}"
        digits = "g" if self.unit == "trials" else ".3g"
        return f"{self.used:{digits}} of {self.limit:g} {self.unit}"

    def _with_unit(self, number: str) -> str:
        return f"{self.unit} {number}" if self.budget == "search.target" else f"{number} {self.unit}"


def budget_uses(state: StudyState, time: ServedTime | None = None, study: Study | None = None) -> list[BudgetUse]:
    """Return the budgets that are set, in the order of the settings.

    Args:
        state: The state of the study.
        time: The time that the study has used; None for that of its newest record.
        study: The settings; None for those of the newest chief.
    """
    search, time = (study or state.settings).search, time or state.time
    improvement, objective = state.improvement, state.objective
    uses = []
    for name, used_s in zip(HOURS, (time.searched_s, time.leased_s), strict=True):
        if (limit := getattr(search, name)) is not None:
            hours = used_s / HOUR_S
            uses.append(BudgetUse(f"search.{name}", limit, hours, hours >= limit, "h"))
    if (target := search.target) is not None:
        value = improvement.best_value
        reached = value is not None and not objective.is_better(target, value)
        uses.append(BudgetUse("search.target", target, value, reached, objective.name))
    if (trials := search.patience_trials) is not None:
        since = improvement.trials_since
        uses.append(BudgetUse("search.patience_trials", trials, since, since >= trials, "trials"))
    return uses


def ended_budget(state: StudyState, time: ServedTime | None = None) -> BudgetUse | None:
    """Return the first budget that has ended; None if all of them last."""
    return next((use for use in budget_uses(state, time) if use.has_ended), None)


def ended_hours(state: StudyState, time: ServedTime | None = None) -> BudgetUse | None:
    """Return the first budget of hours that has ended; None if all of them last."""
    return next((use for use in budget_uses(state, time) if use.has_ended and use.name in HOURS), None)


def time_at(state: StudyState, term_s: float) -> ServedTime:
    """Return the time that the study has used when its chief has served for `term_s` seconds of this term."""
    time = replace(state.time)
    time.advance(term_s)
    return time


@dataclass(frozen=True)
class RemainingHours:
    """What remains of the budgets of hours, in seconds. Infinite for a budget that is not set."""

    served_s: float
    """Of `search.max_hours`."""
    leased_s: float
    """Of `search.max_worker_hours`: the time of all workers together."""


def remaining_hours(state: StudyState, time: ServedTime | None = None) -> RemainingHours | None:
    """Return what remains of the budgets of hours; None if none is set. `time` is as in `budget_uses`."""
    search, used = state.settings.search, time or state.time
    if search.max_hours is None and search.max_worker_hours is None:
        return None
    return RemainingHours(_left_s(search.max_hours, used.searched_s), _left_s(search.max_worker_hours, used.leased_s))


def remaining_budget_s(state: StudyState, time: ServedTime | None = None) -> float | None:
    """Return the seconds until the first budget of hours ends, with as many leases as now; None if there is none.

    The other budgets depend on results, so the time at which they end is not known.
    """
    used = time or state.time
    hours = remaining_hours(state, used)
    if hours is None:
        return None
    seconds = min(hours.served_s, hours.leased_s / used.leases if used.leases else inf)
    return None if seconds == inf else seconds


def _left_s(hours: float | None, used_s: float) -> float:
    return inf if hours is None else max(0.0, hours * HOUR_S - used_s)
