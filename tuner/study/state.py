"""The state of a study and its trials, computed from the records of the journal.

The chief appends records; every reader (a restarted chief, `status`, `trials`, the evaluator) gets the same state by
applying the same records in order. Nothing else determines the state of a trial.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from math import isfinite, nan
from typing import Literal

from pydantic import ConfigDict

from tuner.config.formats import COMPATIBLE, parse_format
from tuner.config.recorded import RecordedStudy
from tuner.config.settings import Algorithm, Study
from tuner.names import ReleaseId, TrialId
from tuner.study.confirmation import Candidate, candidates
from tuner.study.control import Control
from tuner.study.ending import BudgetEnding, continues, limit_of, requested_ending
from tuner.study.improvement import Improvement
from tuner.study.objective import Objective
from tuner.study.outage import Outage, extended
from tuner.study.records import (
    Action,
    AttemptEnded,
    BudgetEnded,
    Controlled,
    Created,
    Ended,
    Finished,
    Learned,
    LearnedTrial,
    Leased,
    ModelsDeleted,
    ModelSizes,
    Opened,
    Paused,
    Record,
    Reported,
    Retried,
    Served,
    TrialState,
    Withdrawn,
    first_line,
)
from tuner.study.rungs import leave_rungs, reach_rung
from tuner.study.trial import SCORED, TRANSITIONS, Trial
from tuner.study.work_time import ServedTime


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
    repetitions: list[TrialId] = field(default_factory=list)
    """Those of the trials that repeat another one (search.confirm), in the order in which they were created."""
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
    script_digest: str = ""
    """SHA-256 of the script with which the study began; empty if it has none, or if an earlier version began it."""
    learned: tuple[LearnedTrial, ...] = ()
    """Trials of earlier studies that the search algorithm knows."""
    ended_before_term: int = 0
    """Number of trials that had ended when the newest chief started."""
    finished: Finished | None = None
    first: dict[int, list[TrialId]] = field(default_factory=dict)
    """First `reduction_factor` trials at each rung of early stopping, without failed trials."""
    outage: Outage | None = None
    """Failure of the environment that has ended attempts since the last checkpoint was saved; None if there is none."""
    time: ServedTime = field(default_factory=ServedTime)
    improvement: Improvement = field(default_factory=Improvement)
    ending: BudgetEnding | None = None
    """The budget or the user's request that has ended the search or is ending it; None if there is none."""
    control: Control = field(default_factory=Control)
    """What users have requested while the search runs."""
    needed_format: str = COMPATIBLE
    """The newest format of a record so far, which a reader of the state must know."""

    def apply(self, record: Record) -> None:
        """Apply the next record.

        Raises ValueError if the record contradicts the state because its trial is unknown, its transition is not in
        TRANSITIONS, or its attempt is not the newest.
        """
        self.time.advance(record.served_s, record.idle_s if isinstance(record, Served | Finished) else None)
        self._apply(record)
        self.needed_format = max(record.format, self.needed_format, key=parse_format)
        self.last_record = max(self.last_record or record.at, record.at)

    def _apply(self, record: Record) -> None:
        match record:
            case Opened():
                self._open(record)
            case Learned():
                self.learned = record.trials
            case Created():
                self._create(record)
            case BudgetEnded():
                at_s = self.time.served_s
                self.ending = BudgetEnding(record.budget, record.limit, record.reason, at_s, record.reserved)
            case Controlled():
                self._control(record)
            case Finished():
                self.finished, self.outage = record, None
            case Retried():
                self._retry([self._trial(trial_id) for trial_id in record.trials])
            case ModelsDeleted():
                self._delete_models([self._trial(trial_id) for trial_id in record.trials])
            case Served():
                pass  # `apply` has counted its time
            case _:
                self._apply_to_trial(record)

    def _apply_to_trial(self, record: Leased | Reported | AttemptEnded | Paused | Ended | Withdrawn) -> None:
        match record:
            case Leased():
                self._lease(self._trial(record.trial), record)
            case Reported():
                self._report(self._attempt(record), record)
            case AttemptEnded():
                trial = self._attempt(record)
                self._move(trial, TrialState.QUEUED)
                trial.outcomes[record.cause] += 1
                if record.failing_s is not None:
                    self.outage = extended(self.outage, record.at - record.failing_s, first_line(record.reason))
                trial.reason = record.reason
                if record.requested:
                    trial.forgiven[record.cause] += 1
                else:
                    trial.worker, trial.incarnation = None, None
            case Paused():
                self._pause(self._attempt(record), record)
            case Ended() | Withdrawn():
                self._end(self._ending(record), record)

    def _open(self, record: Opened) -> None:
        if record.term <= self.term:
            raise ValueError(f"term {record.term} follows term {self.term}")
        if self.ending and continues(self.ending, self.finished is not None, record.study):
            self.ending = None
        if self.finished:  # a search that is started again is not paused
            self.control, self.time.is_paused = self.control.resumed(), False
        self.term, self.study, self.direction = record.term, record.study, record.direction
        self.start, self.release, self.opened, self.finished = record.start, record.release_id, record.at, None
        self.time.open_term()
        if self.term == 1:
            self.began = record.at
            self.space_version, self.algorithm_version = record.space_version, record.algorithm_version
        self.script_digest = self.script_digest or record.script_digest
        self.data_digest, self.model_sizes, self.ended_before_term = record.data, record.model_sizes, len(self.ended)

    def _control(self, record: Controlled) -> None:
        self.control = self.control.after(record)
        self.time.is_paused = self.control.is_paused
        if record.action is not Action.STOP or record.refusal:
            return
        ending = requested_ending(self.time.served_s)
        for trial in [self._trial(trial_id) for trial_id in record.trials]:
            trial.ending = trial.ending or ending
        if not record.trials and not (self.ending and self.ending.is_requested):
            self.ending = ending

    def _create(self, record: Created) -> None:
        if record.trial in self.trials:
            raise ValueError(f"trial {record.trial} is created twice")
        if record.repeats is not None and self._trial(record.repeats).repeats is not None:
            raise ValueError(f"trial {record.trial} repeats {record.repeats}, which is a repetition itself")
        values = dict(record.hyperparameters)
        self.trials[record.trial] = Trial(record.trial, values, record.algorithm, record.repeats)
        self.steps.append(record.trial)
        if record.repeats is not None:
            self.repetitions.append(record.trial)

    def _lease(self, trial: Trial, record: Leased) -> None:
        if record.attempt != trial.attempts + 1:
            raise ValueError(f"trial {trial.trial_id}: attempt {record.attempt} follows {trial.attempts}")
        trial.reason = "" if trial.state is TrialState.PAUSED else trial.reason
        self._move(trial, TrialState.RUNNING)
        trial.attempts, trial.worker, trial.incarnation = record.attempt, record.worker, record.incarnation
        trial.started, trial.leased, trial.score = trial.started or record.at, record.at, None
        # epochs that were reported without a saved model are trained again
        last = max(trial.checkpoints, default=-1)
        trial.epochs = {epoch: metrics for epoch, metrics in trial.epochs.items() if epoch <= last}
        trial.reported = {epoch: at for epoch, at in trial.reported.items() if epoch <= last}
        trial.work.drop(last + 1)
        trial.best_epoch = self._best_epoch(trial)

    @property
    def suggested(self) -> Collection[Trial]:
        """The trials of the search itself, without repetitions (search.confirm)."""
        if not self.repetitions:
            return self.trials.values()
        return [trial for trial in self.trials.values() if trial.repeats is None]

    @property
    def suggested_count(self) -> int:
        """Number of trials of the search itself."""
        return len(self.trials) - len(self.repetitions)

    @property
    def max_trials(self) -> int | None:
        """Maximum number of trials of the search itself; None if it is not limited, or Hyperband determines it."""
        search = self.settings.search
        return None if search.algorithm is Algorithm.HYPERBAND else search.max_trials

    @property
    def planned_trials(self) -> int | None:
        """Maximum number of trials with the repetitions so far; None if it is not known."""
        most = self.max_trials
        return None if most is None else most + len(self.repetitions)

    @property
    def confirmation(self) -> list[Candidate]:
        """The trials that are trained again with other seeds, the best first; none without search.confirm."""
        return candidates(self.trials, self.repetitions, self.objective) if self.repetitions else []

    def best(self, count: int = 1) -> list[Trial]:
        """Return the best `count` trials that have a score and a saved model, best first, as in `ranking`."""
        return [trial for trial in self.ranking() if trial.checkpoint][:count]

    def ranking(self) -> list[Trial]:
        """Return the trials that have a score, best first.

        Those with repetitions that count come first, sorted by the mean score of their repetitions. Each of them stands
        in the list as its training with the best saved model, which may be a repetition. All other trials of the
        search follow, sorted by their scores.
        """
        confirmed = [candidate for candidate in self.confirmation if candidate.scores]
        originals = {candidate.original.trial_id for candidate in confirmed}
        others = self.ranked(trial for trial in self.suggested if trial.trial_id not in originals)
        return [*(candidate.best_training for candidate in confirmed), *others]

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
        limit = self.finished.budget or "search.max_trials"
        return limit_of(study, limit) == limit_of(self.study, limit)

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

    def _trial(self, trial_id: TrialId) -> Trial:
        if trial_id not in self.trials:
            raise ValueError(f"there is no trial {trial_id}")
        return self.trials[trial_id]

    def _report(self, trial: Trial, record: Reported) -> None:
        trial.forget_epochs(record.epoch)  # a new attempt trains those after this one again
        trial.epochs[record.epoch], trial.reported[record.epoch] = dict(record.metrics), record.at
        trial.start_s = trial.start_s if record.start_s is None else record.start_s
        trial.work.report(record.epoch, self.time.served_s)
        if record.checkpoint is not None:
            trial.checkpoints[record.epoch], self.outage = record.checkpoint, None
            if record.sha256 is not None:
                trial.sha256[record.epoch] = record.sha256
        trial.verified = trial.verified if record.verified is None else record.verified
        is_finite = isfinite(record.metrics.get(self.objective.name, nan))
        trial.returned = record.epoch if record.returned and is_finite else None
        trial.best_epoch = self._best_epoch(trial)
        if trial.best_epoch is None or trial.repeats is not None:
            return
        search, best = self.settings.search, trial.epochs[trial.best_epoch]
        self.improvement.report(self.objective, best[search.objective])
        if not record.returned:  # which may be another measure than those of epochs, with which rungs compare trials
            reach_rung(search.early_stopping, trial, record.epoch + 1, best[search.objective], self.first)

    def _pause(self, trial: Trial, record: Paused) -> None:
        self._move(trial, TrialState.PAUSED)
        trial.score, trial.best_epoch, trial.reason = record.score, record.best_epoch, record.reason
        trial.pauses, trial.paused_score = trial.pauses + 1, record.score
        # for the patience of the search, a trial has ended when it is paused first
        self.improvement.end(self.objective, record.score, is_known=trial.pauses > 1)
        self.steps.append(trial.trial_id)

    def _end(self, trial: Trial, record: Ended | Withdrawn) -> None:
        self._move(trial, record.state)
        if isinstance(record, Ended):
            trial.refused = record.refused
            trial.outcomes.update([record.outcome] if record.outcome else [])
        trial.score, trial.best_epoch = record.score, record.best_epoch
        trial.ended, trial.reason, trial.budget = record.at, record.reason, record.budget
        if trial.state in SCORED and trial.repeats is None:
            self.improvement.end(self.objective, record.score, is_known=trial.pauses > 0)
        self.ended.append(trial.trial_id)
        self.steps.append(trial.trial_id)
        if trial.state is TrialState.FAILED:
            trial.paused_score = None
            leave_rungs(trial, self.first)

    def _delete_models(self, trials: list[Trial]) -> None:
        for trial in trials:
            if trial.state is not TrialState.PAUSED:
                raise ValueError(f"trial {trial.trial_id} is {trial.state}, and only paused trials lose their models")
        for trial in trials:
            trial.checkpoints, trial.sha256 = {}, {}

    def _retry(self, trials: list[Trial]) -> None:
        """Queue failed trials again, with all retries and without their epochs, whose models have been deleted."""
        for trial in trials:
            if trial.state is not TrialState.FAILED:
                raise ValueError(f"trial {trial.trial_id} is {trial.state} and cannot be retried")
        for trial in trials:
            trial.state, trial.ended, trial.worker, trial.incarnation = TrialState.QUEUED, None, None, None
            trial.epochs, trial.reported, trial.checkpoints, trial.sha256, trial.rungs = {}, {}, {}, {}, {}
            trial.best_epoch = None
            trial.work.restart()
            trial.forgiven = trial.outcomes.copy()
        retried = {trial.trial_id for trial in trials}
        self.ended = [trial_id for trial_id in self.ended if trial_id not in retried]
        self.ended_before_term = len(self.ended)

    def _ending(self, record: Ended | Withdrawn) -> Trial:
        """Return the trial that ends. It is running, or waits and is stopped."""
        trial = self._trial(record.trial)
        if isinstance(record, Withdrawn):
            return trial
        if trial.state is TrialState.PAUSED and record.state is TrialState.STOPPED and record.attempt == trial.attempts:
            return trial
        return self._attempt(record)

    def _attempt(self, record: Reported | AttemptEnded | Paused | Ended) -> Trial:
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
        self.time.leases += (state is TrialState.RUNNING) - (trial.state is TrialState.RUNNING)
        if state is TrialState.RUNNING:
            trial.work.begin(self.time.served_s)
        elif TRANSITIONS[state]:
            trial.work.interrupt(self.time.served_s)
        else:
            trial.work.end(self.time.served_s)
        trial.state = state
