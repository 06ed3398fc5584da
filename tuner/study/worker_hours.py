"""Worker-hours by outcome, and their cost, computed from the journal."""

from dataclasses import dataclass
from enum import StrEnum

from tuner.config.settings import Cost
from tuner.study.budgets import HOUR_S
from tuner.study.records import TrialState
from tuner.study.state import StudyState


class WorkOutcome(StrEnum):
    """What became of the time of workers. The sum of all outcomes but IDLE is the time of all leases."""

    USEFUL = "useful"  # epochs of trials that were completed or are not finished
    REPEATED = "repeated"  # epochs that were lost in an interruption and had to be trained again
    STOPPED = "stopped"  # epochs of trials that were stopped or paused
    FAILED = "failed"  # epochs of trials that failed
    IDLE = "idle"  # waiting for a trial


@dataclass(frozen=True)
class WorkerTime:
    """The time of all workers, in seconds."""

    seconds: dict[WorkOutcome, float]

    @property
    def leased_s(self) -> float:
        """Time for which workers had a trial."""
        return sum(seconds for outcome, seconds in self.seconds.items() if outcome is not WorkOutcome.IDLE)

    @property
    def total_s(self) -> float:
        """Time for which workers had joined."""
        return sum(self.seconds.values())


_OUTCOMES = {
    TrialState.STOPPED: WorkOutcome.STOPPED,
    TrialState.PAUSED: WorkOutcome.STOPPED,
    TrialState.FAILED: WorkOutcome.FAILED,
}


def worker_time(state: StudyState) -> WorkerTime:
    """Return the time of all workers up to the newest record. Time without a chief does not count."""
    seconds = dict.fromkeys(WorkOutcome, 0.0)
    served_s = state.time.served_s
    for trial in state.trials.values():
        seconds[_OUTCOMES.get(trial.state, WorkOutcome.USEFUL)] += trial.work.counted_s(served_s)
        seconds[WorkOutcome.REPEATED] += trial.work.repeated_s
    seconds[WorkOutcome.IDLE] = state.time.idle_s
    return WorkerTime(seconds)


def cost_of(seconds: float, cost: Cost) -> float | None:
    """Return the price of this time of one worker; None if `cost.per_worker_hour` is not set."""
    return None if cost.per_worker_hour is None else seconds / HOUR_S * cost.per_worker_hour


def money(amount: float, cost: Cost) -> str:
    """Return an amount with the currency, such as `$1.20` or `EUR 1.20`."""
    space = " " if cost.currency[-1].isalnum() else ""
    return f"{cost.currency}{space}{amount:,.2f}"


def total_text(time: WorkerTime, cost: Cost) -> str:
    """Return the hours of all workers, and their cost if it is known."""
    price = cost_of(time.total_s, cost)
    return f"{_hours(time.total_s, time)} h" + ("" if price is None else f", {money(price, cost)}")


def outcomes_text(time: WorkerTime) -> str:
    """Return the hours of each outcome that took a second or more, in one line."""
    return ", ".join(f"{_hours(seconds, time)} {outcome}" for outcome, seconds in time.seconds.items() if seconds >= 1)


def _hours(seconds: float, total: WorkerTime) -> str:
    """Return hours with a precision that suits the total."""
    return f"{seconds / HOUR_S:.{2 if total.total_s >= HOUR_S else 4}f}"
