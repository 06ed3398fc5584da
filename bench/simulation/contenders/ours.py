"""This project's search in virtual time: its oracle, suggester and early stopping, without processes and a journal.

The simulator does what the chief's dispatcher and service do between two calls: it asks the suggester if the oracle
wants a suggestion, and informs the suggester of rungs that trials have reached and of trials that were paused or ended.
"""

from collections.abc import Sequence

from bench.simulation.contender import Job
from bench.simulation.contenders.keras_space import keras_space
from bench.simulation.contest import budget_s
from bench.simulation.grid import Grid
from bench.simulation.table import Table
from tuner.config.loading import load
from tuner.config.settings import Study
from tuner.names import TrialId
from tuner.search.claims import AttemptClaim, Instant
from tuner.search.leases import Worker
from tuner.search.oracle import Oracle
from tuner.search.suggester import NoSuggestion, Suggestion, make_suggester, observations
from tuner.study.objective import Objective
from tuner.study.records import Ended, Opened, Outcome, Paused, Record, TrialState
from tuner.study.state import StudyState
from tuner.study.trial import Trial

OBJECTIVE = "val_accuracy"
BUDGETS = ("search.max_", "search.target=", "search.patience_trials=")
"""Beginnings of the settings that end a search."""
STARTED = 1_700_000_000.0
"""Seconds since 1970 at which the virtual clock starts."""


class Ours:
    """A search with the given settings of study.yaml, such as `search.algorithm=bayesian`."""

    def __init__(self, table: Table, workers: int, seed: int, settings: Sequence[str] = ()) -> None:
        self._table = table
        self._grid: Grid = table.grid
        self._epochs = table.epochs
        study = study_of(table, workers, seed, settings)
        self._state = StudyState()
        opened = Opened(at=STARTED, term=1, writer="simulator", study=study, data="table", direction="max")
        self._state.apply(opened)
        self._suggester = make_suggester(study, keras_space(table.grid), Objective(OBJECTIVE))
        self._oracle = Oracle(self._state, _instant(0.0))
        self._incarnations = [1] * workers

    def ask(self, worker: int, now: float) -> Job | None:
        """Lease a queued trial to the worker, or the trial of a new suggestion."""
        instant, process = _instant(now), self._process(worker)
        while True:
            trial, records = self._oracle.grant(process, instant)
            self._apply(records, instant)
            if trial is not None:
                return self._job(trial, process)
            if not self._oracle.wants_suggestion:
                return None
            suggestion = self._suggester.suggest()
            if isinstance(suggestion, Suggestion):
                self._apply(self._oracle.add(suggestion, instant), instant)
            elif suggestion is NoSuggestion.EXHAUSTED:
                self._oracle.exhausted = True
                self._apply([], instant)
            else:
                return None

    def report(self, job: Job, epoch: int, value: float, now: float) -> bool:
        """Report an epoch whose checkpoint is saved."""
        attempt, instant = job.trial, _instant(now)
        trial = self._state.trials[TrialId(attempt.trial)]
        checkpoint = f"{attempt.trial}-{epoch}"
        start_s = self._start_s(job, trial, now) if epoch == job.first_epoch else None
        records = self._oracle.report(attempt, epoch, {OBJECTIVE: value}, checkpoint, instant, start_s=start_s)
        self._apply(records, instant)
        return trial.state is TrialState.RUNNING

    def _start_s(self, job: Job, trial: Trial, now: float) -> float:
        """Return the time from the lease to the first epoch's beginning, which the worker of a trial measures."""
        assert trial.leased is not None
        return max(0.0, STARTED + now - trial.leased - float(self._table.scaled_s[job.configuration]))

    def completed(self, job: Job, now: float) -> None:
        """Complete the trial."""
        instant = _instant(now)
        self._apply(self._oracle.complete(job.trial, instant), instant)

    def preempted(self, job: Job, epochs: int, now: float) -> None:
        """Give the trial back, as a worker does that receives SIGTERM."""
        instant = _instant(now)
        self._apply(self._oracle.give_back(job.trial, Outcome.PREEMPTED, "preempted", instant), instant)
        number = int(job.trial.worker.name)
        self._incarnations[number] += 1

    def _process(self, worker: int) -> Worker:
        return Worker(str(worker), str(self._incarnations[worker]))

    def _job(self, trial: Trial, process: Worker) -> Job:
        values = trial.hyperparameters
        first = 0 if trial.last_epoch is None else trial.last_epoch + 1
        first = max(first, int(values.get("tuner/initial_epoch", 0)))
        return Job(
            AttemptClaim(process, trial.trial_id, trial.attempts),
            self._grid.number(values),
            epochs=int(values.get("tuner/epochs", self._epochs)),
            first_epoch=first,
        )

    def _apply(self, records: Sequence[Record], instant: Instant) -> None:
        """Inform the suggester as the chief's service does, and end the search if nothing is left to do."""
        for observation in observations(self._state, records):
            self._suggester.observe(observation)
        for record in records:
            if isinstance(record, Ended | Paused):
                self._suggester.ended(record.trial, record.state, record.score, record.best_epoch)
        self._oracle.finish(instant)


def study_of(table: Table, workers: int, seed: int, settings: Sequence[str]) -> Study:
    """Return the settings of a search on a table: the defaults, except those given, and the hours of the simulation."""
    limits = [f"seed={seed + 1}", f"training.epochs={table.epochs}"]
    if not any(setting.startswith(BUDGETS) for setting in settings):
        limits.append(f"search.max_hours={budget_s(table, workers) / 3600}")
    return load(settings=[*limits, *settings])


def _instant(now: float) -> Instant:
    return Instant(STARTED + now, now)
