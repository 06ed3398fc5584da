"""The geometry of early stopping's rungs, and which trials have reached each of them.

Rung k, from 0, is at `min_epochs * reduction_factor**k` epochs. `tuner.search.early_stopping` decides which trials
continue beyond a rung.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

from tuner.config.settings import EarlyStopping, Policy
from tuner.names import TrialId
from tuner.study.records import TrialState


def rung_at(settings: EarlyStopping, epochs: int) -> int | None:
    """Return the rung that a trial reaches with this number of epochs; None if there is none."""
    if settings.policy is not Policy.ASHA:
        return None
    rung, rung_epochs = 0, settings.min_epochs
    while rung_epochs < epochs:
        rung, rung_epochs = rung + 1, rung_epochs * settings.reduction_factor
    return rung if rung_epochs == epochs else None


def epochs_at(settings: EarlyStopping, rung: int) -> int:
    """Return the number of epochs with which a trial reaches a rung."""
    return int(settings.min_epochs * settings.reduction_factor**rung)


def kept_of(settings: EarlyStopping, rung: int, reached: int) -> int:
    """Return how many of the trials that reached a rung continue; 0 if all do, because too few have reached it."""
    return max(reached // settings.reduction_factor, 0 if rung == 0 else 1)


class RungTrial(Protocol):
    """What is read of a trial here; `tuner.study.state.Trial` is one."""

    trial_id: TrialId
    state: TrialState
    rungs: dict[int, float]
    """Best objective up to each rung that the trial has reached, as of the first time that it did."""


def reach_rung(
    settings: EarlyStopping, trial: RungTrial, epochs: int, value: float, first: dict[int, list[TrialId]]
) -> None:
    """Record that a trial has trained a number of epochs, if these are a rung's and it reaches the rung the first time.

    Args:
        settings: The study's early stopping, which has the rungs.
        trial: The trial; its `rungs` are updated.
        epochs: Number of epochs that the trial has trained.
        value: Its best objective so far.
        first: The first `reduction_factor` trials at each rung; updated.
    """
    rung = rung_at(settings, epochs)
    if rung is None or rung in trial.rungs:
        return
    trial.rungs[rung] = value
    trial_ids = first.setdefault(rung, [])
    if len(trial_ids) < settings.reduction_factor:
        trial_ids.append(trial.trial_id)


def leave_rungs(trial: RungTrial, first: dict[int, list[TrialId]]) -> None:
    """Remove a failed trial from the first ones at the rungs that it has reached: others are compared there instead."""
    for rung in trial.rungs:
        first[rung] = [trial_id for trial_id in first[rung] if trial_id != trial.trial_id]


@dataclass(frozen=True)
class AtRung:
    """The trials at a rung, without those that failed, with which others are no longer compared."""

    values: list[float] = field(default_factory=list)
    """Objective with which each trial reached the rung."""
    stopped: list[float] = field(default_factory=list)
    """Those of them whose trials were stopped there."""


def at_rungs(trials: Iterable[RungTrial]) -> dict[int, AtRung]:
    """Return what is at each rung that a trial has reached, by the rung's number, in ascending order."""
    rungs: dict[int, AtRung] = {}
    for trial in trials:
        if trial.state is TrialState.FAILED:
            continue
        for rung, value in trial.rungs.items():
            at = rungs.setdefault(rung, AtRung())
            at.values.append(value)
            if trial.state is TrialState.STOPPED and rung == max(trial.rungs):
                at.stopped.append(value)
    return dict(sorted(rungs.items()))
