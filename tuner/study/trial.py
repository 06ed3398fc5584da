"""A trial: one choice of hyperparameters, with its state and its results."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isnan
from typing import Any

from pydantic import ConfigDict

from tuner import names
from tuner.names import TrialId
from tuner.study.ending import BudgetEnding
from tuner.study.records import Outcome, TrialState, Value
from tuner.study.work_time import WorkTime

TRANSITIONS: dict[TrialState, frozenset[TrialState]] = {
    TrialState.QUEUED: frozenset({TrialState.RUNNING, TrialState.STOPPED}),
    TrialState.PAUSED: frozenset({TrialState.RUNNING, TrialState.STOPPED}),
    TrialState.RUNNING: frozenset(
        {TrialState.QUEUED, TrialState.PAUSED, TrialState.COMPLETED, TrialState.STOPPED, TrialState.FAILED}
    ),
    TrialState.COMPLETED: frozenset(),
    TrialState.STOPPED: frozenset(),
    TrialState.FAILED: frozenset(),
}
"""Transitions during a search. The record Retried, with which a search that gave up is resumed, requeues trials."""
SCORED = frozenset({TrialState.COMPLETED, TrialState.STOPPED})


@dataclass
class Trial:
    """One choice of hyperparameters, with its state and its results."""

    __pydantic_config__ = ConfigDict(ser_json_inf_nan="constants")  # used by snapshots, like that of StudyState

    trial_id: TrialId
    hyperparameters: dict[str, Value]
    algorithm: dict[str, Any] = field(default_factory=dict, repr=False)
    """State from which the search algorithm continues after this suggestion."""
    repeats: TrialId | None = None
    """The trial whose hyperparameters this one repeats with another seed (search.confirm)."""
    state: TrialState = TrialState.QUEUED
    attempts: int = 0
    """Number of the newest attempt."""
    worker: str | None = None
    incarnation: str | None = None
    epochs: dict[int, dict[str, float]] = field(default_factory=dict)
    """Metrics by epoch (from 0)."""
    reported: dict[int, float] = field(default_factory=dict)
    """Time at which each epoch was reported, in seconds since 1970."""
    checkpoints: dict[int, str] = field(default_factory=dict)
    """Object names of the saved models by epoch. The bucket keeps only the best and the last model."""
    rungs: dict[int, float] = field(default_factory=dict)
    """Best objective up to each reached rung, as it was when the trial reached the rung for the first time."""
    sha256: dict[int, str] = field(default_factory=dict)
    """Checksums of the saved models by epoch."""
    outcomes: Counter[Outcome] = field(default_factory=Counter)
    """Number of attempts by outcome."""
    pauses: int = 0
    """Number of attempts that ended because the trial was paused."""
    paused_score: float | None = None
    """Objective of the best epoch when the trial was last paused; None if it has never been paused or has failed."""
    forgiven: Counter[Outcome] = field(default_factory=Counter)
    """Those of `outcomes` that no retry budget counts, because a search that gave up was started again after them."""
    score: float | None = None
    """Objective of the best epoch, if the trial has ended or is paused."""
    best_epoch: int | None = None
    verified: bool | None = None
    """Whether the objective was recomputed with a saved model of this trial. False if it cannot be recomputed; None if
    that is not known, as for trials of earlier versions and of Keras Tuner's own workers."""
    returned: int | None = None
    """Epoch whose objective the space's own `fit` returned. It counts as the best epoch."""
    started: float | None = None
    leased: float | None = None
    """When the newest attempt was leased, in seconds since 1970."""
    start_s: float | None = None
    """Seconds from the newest lease for which the start is known to the end of its first training step."""
    ended: float | None = None
    refused: bool = False
    """Whether the trial failed because the model's own code refused its hyperparameters."""
    reason: str = ""
    budget: str = ""
    """Key of the setting whose budget stopped the trial, such as `search.max_hours`, or STOP; empty if neither did."""
    ending: BudgetEnding | None = None
    """The request of a user to stop the trial; None if there is none."""
    work: WorkTime = field(default_factory=WorkTime)

    def forget_epochs(self, first: int) -> None:
        """Forget what was reported of this epoch and of all later ones."""
        self.epochs = {epoch: metrics for epoch, metrics in self.epochs.items() if epoch < first}
        self.checkpoints = {epoch: name for epoch, name in self.checkpoints.items() if epoch < first}
        self.sha256 = {epoch: digest for epoch, digest in self.sha256.items() if epoch < first}
        self.reported = {epoch: at for epoch, at in self.reported.items() if epoch < first}

    @property
    def metrics(self) -> list[dict[str, float]]:
        """Metrics of the reported epochs, in order."""
        return [self.epochs[epoch] for epoch in sorted(self.epochs)]

    @property
    def ended_waiting(self) -> bool:
        """Whether the trial was paused or queued until it was stopped, so that its last attempt had ended before."""
        return self.state is TrialState.STOPPED and self.attempts == sum(self.outcomes.values()) + self.pauses

    @property
    def counted_attempts(self) -> int:
        """Number of attempts without those that bucket, disk or network ended, which no budget counts."""
        return self.attempts - self.outcomes[Outcome.ENVIRONMENT]

    @property
    def chosen(self) -> dict[str, Value]:
        """The hyperparameters of the space, without values such as `tuner/epochs` that are added to them."""
        return {key: value for key, value in self.hyperparameters.items() if names.is_hyperparameter(key)}

    @property
    def checkpoint(self) -> str | None:
        """Object name of the model that was saved after the best epoch; None if there is none."""
        return None if self.best_epoch is None else self.checkpoints.get(self.best_epoch)

    def has_report(self, epoch: int, metrics: Mapping[str, float], checkpoint: str | None, returned: bool) -> bool:
        """Return whether this report of an epoch has been recorded already."""
        known = self.epochs.get(epoch)
        is_known = known is not None and same_metrics(known, metrics) and self.checkpoints.get(epoch) == checkpoint
        return is_known and (not returned or self.returned == epoch)

    @property
    def last_epoch(self) -> int | None:
        """The newest epoch whose model is saved. The next attempt resumes after this epoch."""
        return max(self.checkpoints, default=None)


def same_metrics(one: Mapping[str, float], other: Mapping[str, float]) -> bool:
    """Return whether two reports of an epoch have the same metrics. NaN equals NaN here."""
    return one.keys() == other.keys() and all(
        value == other[name] or (isnan(value) and isnan(other[name])) for name, value in one.items()
    )
