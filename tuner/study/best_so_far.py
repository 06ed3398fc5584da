"""The best objective of a search so far against the worker-hours that it had used by then."""

from collections.abc import Iterable
from dataclasses import dataclass

from tuner.study.budgets import HOUR_S
from tuner.study.objective import Objective
from tuner.study.records import Record
from tuner.study.state import StudyState


@dataclass(frozen=True)
class Step:
    """An improvement of the best objective."""

    worker_hours: float
    value: float


@dataclass(frozen=True)
class BestSoFar:
    """The course of a search. Repetitions (search.confirm) count as hours, but do not improve the objective."""

    study: str
    objective: Objective
    steps: tuple[Step, ...]
    """The improvements, in order. An epoch improves the objective when it is reported."""
    worker_hours: float
    """Hours of all workers until the newest record, with those in which they had no trial. 0 if none are recorded, as
    in studies of versions before format 1.3."""
    trials: int
    """Number of trials that the search has suggested."""

    @property
    def best(self) -> float | None:
        """The best objective of any epoch; None if no epoch had a finite one."""
        return self.steps[-1].value if self.steps else None

    def hours_to(self, target: float) -> float | None:
        """Return the worker-hours after which the objective was `target` or better; None if it never was."""
        reached = (step.worker_hours for step in self.steps if not self.objective.is_better(target, step.value))
        return next(reached, None)


def best_so_far(study: str, records: Iterable[Record]) -> BestSoFar:
    """Return the course of the search that these records, which are all of the study's, describe.

    Raises ValueError if a record contradicts those before it.
    """
    state, steps = StudyState(), list[Step]()
    for record in records:
        state.apply(record)
        value = state.improvement.best_value
        if value is not None and (not steps or value != steps[-1].value):
            steps.append(Step(_worker_hours(state), value))
    return BestSoFar(study, state.objective, tuple(steps), _worker_hours(state), state.suggested_count)


def _worker_hours(state: StudyState) -> float:
    return (state.time.leased_s + state.time.idle_s) / HOUR_S
