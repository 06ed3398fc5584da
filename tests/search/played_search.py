"""Searches with promotion that are played without processes, for tests."""

import random

from tests.search.test_oracle import at
from tuner.config.loading import load
from tuner.names import TrialId
from tuner.search.claims import AttemptClaim
from tuner.search.leases import Worker
from tuner.search.oracle import Oracle
from tuner.search.suggester import Suggestion
from tuner.study.records import RECORD, Opened, Record, TrialState
from tuner.study.state import StudyState
from tuner.study.trial import Trial


def promoting(*settings: str, epochs: int = 27, trials: int = 100) -> Oracle:
    """Return the chief of a study whose rungs are at 1, 3 and 9 epochs."""
    state, policy = StudyState(), "search.early_stopping.policy=promotion"
    study = load(settings=[policy, f"training.epochs={epochs}", f"search.max_trials={trials}", *settings])
    state.apply(Opened(at=0, term=1, writer="w", study=study, data="d", direction="max"))
    return Oracle(state, at(0))


class Search:
    """A search that is played without processes: each worker in turn asks for a trial or trains an epoch."""

    def __init__(self, chief: Oracle, trials: int, workers: int = 2, seed: int = 1) -> None:
        self.chief = chief
        self.records: list[Record] = []
        self._trials = trials
        self._workers = [Worker(f"w{number}", "1") for number in range(workers)]
        self._seed = seed
        self._seconds = 0

    def play(self, restarts: bool = False) -> StudyState:
        """Play to the end of the search; with `restarts`, another chief takes over before every step."""
        while self.chief.state.finished is None:
            for worker in self._workers:
                if restarts:
                    self.chief = self._next_chief()
                self._seconds += 1
                assert self._seconds < 10_000, "the search does not end"
                self._step(worker)
        return self.chief.state

    def _step(self, worker: Worker) -> None:
        chief, now = self.chief, at(self._seconds)
        lease = next((trial for trial in chief.state.trials.values() if self._trains(worker, trial)), None)
        if lease is None:
            self._ask(worker)
            return
        attempt, epoch = AttemptClaim(worker, lease.trial_id, lease.attempts), len(lease.epochs)
        value = random.Random(f"{self._seed}/{attempt.trial}/{epoch}").random()
        self.records += chief.report(attempt, epoch, {"val_accuracy": value}, f"{attempt.trial}/{epoch}", now)
        if lease.state is TrialState.RUNNING and epoch + 1 == chief.state.settings.training.epochs:
            self.records += chief.complete(attempt, now)
        self.records += chief.finish(now)

    def _ask(self, worker: Worker) -> None:
        chief, now = self.chief, at(self._seconds)
        created = len(chief.state.trials)
        if chief.wants_suggestion and created < self._trials:
            self.records += chief.add(Suggestion(TrialId(f"{created:05d}"), {"units": created}, {}), now)
        elif chief.wants_suggestion or created >= self._trials:
            chief.exhausted = True
        self.records += chief.grant(worker, now)[1]
        self.records += chief.finish(now)

    def _trains(self, worker: Worker, trial: Trial) -> bool:
        return trial.state is TrialState.RUNNING and trial.worker == worker.name

    def _next_chief(self) -> Oracle:
        state = StudyState()
        state.apply(Opened(at=0, term=1, writer="w", study=self.chief.state.settings, data="d", direction="max"))
        for record in self.records:
            state.apply(RECORD.validate_json(RECORD.dump_json(record)))
        chief = Oracle(state, at(0))  # the time that a chief has served is recorded
        chief.exhausted = self.chief.exhausted
        return chief
