"""The state of a study and its trials, computed from the records of the journal.

The chief appends records; every reader (a restarted chief, `status`, `trials`, the evaluator) gets the same state by
applying the same records in order. Nothing else determines the state of a trial.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import isfinite, isnan, nan
from typing import Any, Literal

from pydantic import ConfigDict

from tuner import names
from tuner.config.recorded import RecordedStudy
from tuner.config.settings import Study
from tuner.names import ReleaseId, TrialId
from tuner.study.objective import Objective
from tuner.study.records import (
    AttemptEnded,
    Created,
    Ended,
    FaultScope,
    Finished,
    Learned,
    LearnedTrial,
    Leased,
    ModelSizes,
    Opened,
    Outcome,
    Record,
    Reported,
    Retried,
    TrialState,
    Value,
    first_line,
)
from tuner.study.rungs import leave_rungs, reach_rung

TRANSITIONS: dict[TrialState, frozenset[TrialState]] = {
    TrialState.QUEUED: frozenset({TrialState.RUNNING}),
    TrialState.RUNNING: frozenset({TrialState.QUEUED, TrialState.COMPLETED, TrialState.STOPPED, TrialState.FAILED}),
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
    forgiven: Counter[Outcome] = field(default_factory=Counter)
    """Those of `outcomes` that no retry budget counts, because a search that gave up was started again after them."""
    score: float | None = None
    best_epoch: int | None = None
    verified: bool | None = None
    """Whether the objective was recomputed with a saved model of this trial. False if it cannot be recomputed; None if
    that is not known, as for trials of earlier versions and of Keras Tuner's own workers."""
    returned: int | None = None
    """Epoch whose objective the space's own `fit` returned. It counts as the best epoch."""
    started: float | None = None
    ended: float | None = None
    refused: bool = False
    """Whether the trial failed because the model's own code refused its hyperparameters."""
    reason: str = ""

    @property
    def metrics(self) -> list[dict[str, float]]:
        """Metrics of the reported epochs, in order."""
        return [self.epochs[epoch] for epoch in sorted(self.epochs)]

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


@dataclass(frozen=True)
class Outage:
    """A failure of bucket, disk or network, because of which no checkpoint has been saved for some time."""

    since: float
    """When it began, in seconds since 1970."""
    attempts: int
    """Number of attempts that it has ended."""
    reason: str
    """Why the last of them ended."""


@dataclass
class StudyState:
    """The state of a study after the records that have been applied so far."""

    __pydantic_config__ = ConfigDict(ser_json_inf_nan="constants")

    term: int = 0
    study: RecordedStudy | None = None
    data_digest: str = ""
    direction: Literal["max", "min"] = "max"
    start: str = ""
    """Id of the Job that started the newest chief; see `tuner.study.records.Opened`."""
    release: ReleaseId | None = None
    """Release of the newest chief; None if it has none."""
    trials: dict[TrialId, Trial] = field(default_factory=dict)
    ended: list[TrialId] = field(default_factory=list)
    """Trials that have ended, in the order in which they ended."""
    steps: list[TrialId] = field(default_factory=list)
    """Events for the search algorithm, in order: each trial is listed when it is created and again when it ends."""
    began: float | None = None
    """When the first chief started, in seconds since 1970; None in snapshots of earlier versions, as the next two."""
    opened: float | None = None
    """When the newest chief started."""
    last_record: float | None = None
    """Time of the newest record."""
    model_sizes: ModelSizes | None = None
    """Sizes of the space's models, according to the newest chief; None if unknown."""
    space_version: int = 1
    """Version of the built-in space's networks with which the study began."""
    algorithm_version: int = 1
    """Version of the search algorithm with which the study began."""
    learned: tuple[LearnedTrial, ...] = ()
    """Trials of earlier studies that the search algorithm knows."""
    ended_before_term: int = 0
    """Number of trials that had ended when the newest chief started."""
    finished: Finished | None = None
    first: dict[int, list[TrialId]] = field(default_factory=dict)
    """First `reduction_factor` trials at each rung of early stopping, without failed trials."""
    outage: Outage | None = None
    """Failure of the environment that has ended attempts since the last checkpoint was saved; None if there is none."""

    def apply(self, record: Record) -> None:
        """Apply the next record.

        Raises ValueError if the record contradicts the state because its trial is unknown, its transition is not in
        TRANSITIONS, or its attempt is not the newest.
        """
        self._apply(record)
        self.last_record = max(self.last_record or record.at, record.at)

    def _apply(self, record: Record) -> None:
        match record:
            case Opened():
                self._open(record)
            case Learned():
                self.learned = record.trials
            case Created():
                if record.trial in self.trials:
                    raise ValueError(f"trial {record.trial} is created twice")
                self.trials[record.trial] = Trial(record.trial, dict(record.hyperparameters), record.algorithm)
                self.steps.append(record.trial)
            case Finished():
                self.finished, self.outage = record, None
            case Retried():
                self._retry([self._trial(trial_id) for trial_id in record.trials])
            case Leased():
                trial = self._trial(record.trial)
                if record.attempt != trial.attempts + 1:
                    raise ValueError(f"trial {trial.trial_id}: attempt {record.attempt} follows {trial.attempts}")
                self._move(trial, TrialState.RUNNING)
                trial.attempts, trial.worker, trial.incarnation = record.attempt, record.worker, record.incarnation
                trial.started = trial.started or record.at
                # epochs that were reported without a saved model are trained again
                last = max(trial.checkpoints, default=-1)
                trial.epochs = {epoch: metrics for epoch, metrics in trial.epochs.items() if epoch <= last}
                trial.reported = {epoch: at for epoch, at in trial.reported.items() if epoch <= last}
                trial.best_epoch = self._best_epoch(trial)
            case Reported():
                self._report(self._attempt(record), record)
            case AttemptEnded():
                trial = self._attempt(record)
                self._move(trial, TrialState.QUEUED)
                trial.outcomes[record.cause] += 1
                if record.failing_s is not None:
                    self._extend_outage(record.at - record.failing_s, record.reason)
                trial.reason, trial.worker, trial.incarnation = record.reason, None, None
            case Ended():
                self._end(self._attempt(record), record)

    def _open(self, record: Opened) -> None:
        if record.term <= self.term:
            raise ValueError(f"term {record.term} follows term {self.term}")
        self.term, self.study, self.data_digest = record.term, record.study, record.data
        self.direction, self.start, self.finished = record.direction, record.start, None
        self.release = record.release_id
        self.opened, self.began = record.at, record.at if self.term == 1 else self.began
        self.model_sizes = record.model_sizes
        self.space_version = record.space_version if self.term == 1 else self.space_version
        self.algorithm_version = record.algorithm_version if self.term == 1 else self.algorithm_version
        self.ended_before_term = len(self.ended)

    def best(self, count: int = 1) -> list[Trial]:
        """Return the best `count` trials that have a score and a saved model, best first."""
        return self.best_of(self.trials.values(), count)

    def best_of(self, trials: Iterable[Trial], count: int) -> list[Trial]:
        """Return the best `count` of these trials that have a score and a saved model, best first."""
        return self.ranked(trial for trial in trials if trial.checkpoint)[:count]

    def ranked(self, trials: Iterable[Trial]) -> list[Trial]:
        """Return the trials that have a score, best first. Trials with equal scores are sorted by id."""
        scored = [(trial.score, trial) for trial in trials if trial.state in SCORED and trial.score is not None]
        if not scored:
            return []
        key = self.objective.sort_key
        return [trial for _, trial in sorted(scored, key=lambda pair: (key(pair[0]), pair[1].trial_id))]

    def is_over(self, study: Study) -> bool:
        """Return whether the search has finished and `study` plans no more trials. False if the search gave up."""
        if self.finished is None or self.study is None or self.finished.failed:
            return False
        # training.epochs may have grown, but that affects only new trials
        return self.study.search.max_trials == study.search.max_trials

    def concerns_all(self, scope: FaultScope, trial_id: TrialId) -> bool:
        """Return whether a fault of this trial is one of every trial."""
        others = [trial for trial in self.trials.values() if trial.trial_id != trial_id]
        trained = any(trial.epochs for trial in others)
        match scope:
            case FaultScope.STUDY:
                return True
            case FaultScope.SHARED:
                return not trained
            case FaultScope.LIKELY:  # a running trial will show whether it has the fault too
                return not trained and all(trial.state is not TrialState.RUNNING for trial in others)
            case _:
                return False

    @property
    def shared_fault(self) -> str:
        """The fault of every trial because of which the search ended, as one sentence; empty if there is none."""
        return first_line(self.finished.reason) if self.finished and self.finished.shared_fault else ""

    @property
    def objective(self) -> Objective:
        """The objective of the search, by which its trials are compared."""
        return Objective(self.settings.search.objective, self.direction)

    @property
    def settings(self) -> Study:
        """The study's settings. Raises ValueError until the first record, which contains them, has been applied."""
        if self.study is None:
            raise ValueError("the first record does not open the study")
        return self.study

    def _best_epoch(self, trial: Trial) -> int | None:
        if trial.returned in trial.epochs:
            return trial.returned
        objective = self.objective
        return objective.best({epoch: metrics.get(objective.name, nan) for epoch, metrics in trial.epochs.items()})

    def _is_finite(self, record: Reported) -> bool:
        return isfinite(record.metrics.get(self.settings.search.objective, nan))

    def _trial(self, trial_id: TrialId) -> Trial:
        if trial_id not in self.trials:
            raise ValueError(f"there is no trial {trial_id}")
        return self.trials[trial_id]

    def _report(self, trial: Trial, record: Reported) -> None:
        # a new attempt trains the epochs after this one again
        trial.epochs = {e: m for e, m in trial.epochs.items() if e < record.epoch}
        trial.checkpoints = {e: name for e, name in trial.checkpoints.items() if e < record.epoch}
        trial.sha256 = {e: digest for e, digest in trial.sha256.items() if e < record.epoch}
        trial.reported = {e: at for e, at in trial.reported.items() if e < record.epoch}
        trial.epochs[record.epoch], trial.reported[record.epoch] = dict(record.metrics), record.at
        if record.checkpoint is not None:
            trial.checkpoints[record.epoch], self.outage = record.checkpoint, None
            if record.sha256 is not None:
                trial.sha256[record.epoch] = record.sha256
        trial.verified = trial.verified if record.verified is None else record.verified
        trial.returned = record.epoch if record.returned and self._is_finite(record) else None
        trial.best_epoch = self._best_epoch(trial)
        if trial.best_epoch is not None:
            search, best = self.settings.search, trial.epochs[trial.best_epoch]
            reach_rung(search.early_stopping, trial, record.epoch + 1, best[search.objective], self.first)

    def _extend_outage(self, began: float, reason: str) -> None:
        since, attempts = (self.outage.since, self.outage.attempts) if self.outage else (began, 0)
        self.outage = Outage(min(since, began), attempts + 1, first_line(reason))

    def _end(self, trial: Trial, record: Ended) -> None:
        self._move(trial, record.state)
        if record.outcome is not None:
            trial.outcomes[record.outcome] += 1
        trial.score, trial.best_epoch = record.score, record.best_epoch
        trial.ended, trial.reason, trial.refused = record.at, record.reason, record.refused
        self.ended.append(trial.trial_id)
        self.steps.append(trial.trial_id)
        if trial.state is TrialState.FAILED:
            leave_rungs(trial, self.first)

    def _retry(self, trials: list[Trial]) -> None:
        """Queue failed trials again, with all retries and without their epochs, whose models have been deleted."""
        for trial in trials:
            if trial.state is not TrialState.FAILED:
                raise ValueError(f"trial {trial.trial_id} is {trial.state} and cannot be retried")
        for trial in trials:
            trial.state, trial.ended, trial.worker, trial.incarnation = TrialState.QUEUED, None, None, None
            trial.epochs, trial.reported, trial.checkpoints, trial.sha256, trial.rungs = {}, {}, {}, {}, {}
            trial.best_epoch = None
            trial.forgiven = trial.outcomes.copy()
        retried = {trial.trial_id for trial in trials}
        self.ended = [trial_id for trial_id in self.ended if trial_id not in retried]
        self.ended_before_term = len(self.ended)

    def _attempt(self, record: Reported | AttemptEnded | Ended) -> Trial:
        trial = self._trial(record.trial)
        if record.attempt != trial.attempts or trial.state is not TrialState.RUNNING:
            raise ValueError(
                f"attempt {record.attempt} at trial {trial.trial_id} is not running "
                f"(the trial is {trial.state}, its newest attempt is {trial.attempts})"
            )
        return trial

    def _move(self, trial: Trial, state: TrialState) -> None:
        if state not in TRANSITIONS[trial.state]:
            raise ValueError(f"trial {trial.trial_id} cannot change from {trial.state} to {state}")
        trial.state = state


def same_metrics(one: Mapping[str, float], other: Mapping[str, float]) -> bool:
    """Return whether two reports of an epoch have the same metrics. NaN equals NaN here."""
    return one.keys() == other.keys() and all(
        value == other[name] or (isnan(value) and isnan(other[name])) for name, value in one.items()
    )
