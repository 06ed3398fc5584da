"""The geometry of early stopping's rungs."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from tuner.config.settings import EarlyStopping, Policy
from tuner.study.records import TrialState


def rung_at(settings: EarlyStopping, epochs: int) -> int | None:
    """Return the number, from 0, of the rung that a trial reaches with so many epochs; None where there is none."""
    if settings.policy is not Policy.ASHA:
        return None
    rung, at = 0, settings.min_epochs
    while at < epochs:
        rung, at = rung + 1, at * settings.reduction_factor
    return rung if at == epochs else None


def epochs_at(settings: EarlyStopping, rung: int) -> int:
    """Return how many epochs a trial has that reaches a rung."""
    return int(settings.min_epochs * settings.reduction_factor**rung)


def kept_of(settings: EarlyStopping, rung: int, reached: int) -> int:
    """Return how many go on of those that have reached a rung; 0 where all do, since too few have."""
    return max(reached // settings.reduction_factor, 0 if rung == 0 else 1)


class RungTrial(Protocol):
    """What is read of a trial here; `tuner.study.state.Trial` is one."""

    @property
    def state(self) -> TrialState:
        """Where it is in its life."""
        ...

    @property
    def rungs(self) -> Mapping[int, float]:
        """The objective with which it reached each rung."""
        ...


@dataclass(frozen=True)
class AtRung:
    """What a rung has seen."""

    values: list[float] = field(default_factory=list)
    """With which objective each trial reached it, of those that did not fail: they are compared with no longer."""
    stopped: list[float] = field(default_factory=list)
    """Of these, those that were stopped there."""


def at_rungs(trials: Iterable[RungTrial]) -> dict[int, AtRung]:
    """Return what each rung that was reached has seen, by its number, in order."""
    found: dict[int, AtRung] = {}
    for trial in trials:
        if trial.state is TrialState.FAILED:
            continue
        for rung, value in trial.rungs.items():
            at = found.setdefault(rung, AtRung())
            at.values.append(value)
            if trial.state is TrialState.STOPPED and rung == max(trial.rungs):
                at.stopped.append(value)
    return dict(sorted(found.items()))
