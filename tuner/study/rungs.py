"""The rungs of early stopping: the number of epochs of each rung, and which trials have reached it.

Rung k, from 0, is at `min_epochs * reduction_factor**k` epochs. `tuner.search.early_stopping` and
`tuner.search.promotion` decide which trials continue beyond a rung.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

from tuner.config.settings import EarlyStopping
from tuner.names import TrialId
from tuner.study.records import TrialState


def rung_at(settings: EarlyStopping, epochs: int) -> int | None:
    """Return the rung that a trial reaches with this number of epochs; None if it reaches no rung."""
    if not settings.has_rungs:
        return None
    rung, rung_epochs = 0, settings.min_epochs
    while rung_epochs < epochs:
        rung, rung_epochs = rung + 1, rung_epochs * settings.reduction_factor
    return rung if rung_epochs == epochs else None


def epochs_at(settings: EarlyStopping, rung: int) -> int:
    """Return the number of epochs with which a trial reaches a rung."""
    return int(settings.min_epochs * settings.reduction_factor**rung)


def kept_of(settings: EarlyStopping, rung: int, reached: int) -> int:
    """Return how many of the trials that reached a rung continue.

    0 means that no trial has reached the rung, or too few the lowest one. Then all of them continue, but with promotion
    none of them is promoted yet.
    """
    return max(reached // settings.reduction_factor, 0 if rung == 0 else min(1, reached))


class RungTrial(Protocol):
    """The attributes of a trial that this module uses; `tuner.study.state.Trial` has all of them."""

    trial_id: TrialId
    state: TrialState
    rungs: dict[int, float]
    """Best objective up to each reached rung, as it was when the trial reached the rung for the first time."""
    budget: str
    """Key of the setting whose budget stopped the trial; empty if no budget did."""


def reach_rung(
    settings: EarlyStopping, trial: RungTrial, epochs: int, value: float, first: dict[int, list[TrialId]]
) -> None:
    """Record that a trial has reached the rung at `epochs` epochs, if there is one that it had not reached before.

    Args:
        settings: The study's settings of early stopping, which define the rungs.
        trial: The trial, whose `rungs` are updated.
        epochs: Number of epochs that the trial has trained.
        value: The trial's best objective so far.
        first: The first `reduction_factor` trials at each rung. This mapping is updated.
    """
    rung = rung_at(settings, epochs)
    if rung is None or rung in trial.rungs:
        return
    trial.rungs[rung] = value
    trial_ids = first.setdefault(rung, [])
    if len(trial_ids) < settings.reduction_factor:
        trial_ids.append(trial.trial_id)


def leave_rungs(trial: RungTrial, first: dict[int, list[TrialId]]) -> None:
    """Remove a failed trial from `first` at each rung that it has reached, so that a later trial takes its place."""
    for rung in trial.rungs:
        first[rung] = [trial_id for trial_id in first[rung] if trial_id != trial.trial_id]


@dataclass(frozen=True)
class AtRung:
    """The trials at a rung. Failed trials are excluded, because other trials are no longer compared with them."""

    values: list[float] = field(default_factory=list)
    """Objective with which each trial reached the rung."""
    stopped: list[float] = field(default_factory=list)
    """Objectives of the trials that were stopped at this rung."""
    paused: list[float] = field(default_factory=list)
    """Objectives of the trials that wait at this rung to be promoted."""


def at_rungs(trials: Iterable[RungTrial]) -> dict[int, AtRung]:
    """Return the trials at each rung that any trial has reached, by the rung's number in ascending order."""
    rungs: dict[int, AtRung] = {}
    for trial in trials:
        if trial.state is TrialState.FAILED:
            continue
        for rung, value in trial.rungs.items():
            at = rungs.setdefault(rung, AtRung())
            at.values.append(value)
            if rung != max(trial.rungs):
                continue
            if trial.state is TrialState.PAUSED:
                at.paused.append(value)
            elif trial.state is TrialState.STOPPED and not trial.budget:
                at.stopped.append(value)
    return dict(sorted(rungs.items()))
