"""A chief killed during a search that stops trials early: the next one continues as the first would have.

What a suggestion depends on beside the seed is which results are in, so the order of reports is fixed here: four
workers, in turns, an epoch each.
"""

import random
from dataclasses import dataclass, field
from functools import cache

import keras_tuner
import pytest
from sklearn.exceptions import ConvergenceWarning

from tuner.config.loading import load
from tuner.config.settings import Algorithm, Policy
from tuner.names import TrialId, journal_segment, snapshot
from tuner.search.claims import AttemptClaim, Instant
from tuner.search.leases import Worker
from tuner.search.oracle import Oracle
from tuner.search.suggester import NoSuggestion, Suggestion, make_suggester, observations
from tuner.study import snapshots
from tuner.study.journal import decode, encode
from tuner.study.objective import Objective
from tuner.study.records import Opened, Record, TrialState
from tuner.study.state import StudyState

pytestmark = pytest.mark.filterwarnings(f"ignore::{ConvergenceWarning.__module__}.ConvergenceWarning")

TRIALS, EPOCHS, WORKERS = 16, 5, 4


def space() -> keras_tuner.HyperParameters:
    hp = keras_tuner.HyperParameters()
    hp.Int("filters", 20, 100, step=20)
    hp.Choice("activation", ["relu", "tanh"])
    hp.Choice("learning_rate", [1e-3, 5e-4, 1e-4])
    return hp


@dataclass
class Search:
    """A search in this process: chief, suggester, and workers that take turns."""

    algorithm: Algorithm
    killed_after: int | None
    """So many reports, then the chief dies, and what it had in memory."""
    with_snapshot: bool = False
    policy: Policy = Policy.STOPPING
    journal: list[Record] = field(default_factory=list)
    reports: int = 0
    turns: dict[Worker, AttemptClaim] = field(default_factory=dict)

    def __post_init__(self) -> None:
        names = f"search.algorithm={self.algorithm}", f"search.early_stopping.policy={self.policy}"
        self.study = load(settings=[*names, f"search.max_trials={TRIALS}", f"training.epochs={EPOCHS}"])
        self.begin(StudyState())

    def begin(self, state: StudyState) -> None:
        opened = Opened(at=0, term=state.term + 1, writer="w", study=self.study, data="d", direction="max")
        self.suggester = make_suggester(self.study, space(), Objective("val_accuracy"))
        self.suggester.restore(state)
        state.apply(opened)
        self.journal.append(opened)
        self.state, self.chief = state, Oracle(state, Instant(0, 0))

    def killed(self) -> None:
        """Begin again, with nothing but what was written."""
        name = journal_segment(self.study.name, 1)
        half = len(self.journal) // 2 if self.with_snapshot else 0
        state = StudyState()
        for number, record in enumerate(decode(name, encode(1, "w", self.journal))):
            if number == half and self.with_snapshot:
                kept = snapshots.decode(snapshot(self.study.name, 1), snapshots.encode(1, state))
                assert kept is not None
                state = kept.state
            state.apply(record)
        self.begin(state)

    def run(self) -> "Search":
        workers = [Worker(f"w{n}", "1") for n in range(WORKERS)]
        while not self.state.finished:
            for worker in workers:
                if worker in self.turns or self.take(worker):
                    self.train(worker)
                if self.reports == self.killed_after:
                    self.killed_after = None
                    self.killed()
            self.journal += self.chief.finish(Instant(0, 0))
        return self

    def take(self, worker: Worker) -> bool:
        if self.chief.wants_suggestion:
            suggestion = self.suggester.suggest()
            if isinstance(suggestion, Suggestion):
                self.journal += self.chief.add(suggestion, Instant(0, 0))
            elif suggestion is NoSuggestion.EXHAUSTED:
                self.chief.exhausted = True
        trial, records = self.chief.grant(worker, Instant(0, 0))
        self.observe(records)
        self.journal += records
        if trial is not None:
            self.turns[worker] = AttemptClaim(worker, trial.trial_id, trial.attempts)
        return trial is not None

    def train(self, worker: Worker) -> None:
        attempt = self.turns[worker]
        trial = self.state.trials[TrialId(attempt.trial)]
        epoch = len(trial.epochs)
        value = random.Random(f"{sorted(trial.hyperparameters.items())}/{epoch}").random()
        records = self.chief.report(attempt, epoch, {"val_accuracy": value}, f"{attempt.trial}/{epoch}", Instant(0, 0))
        if epoch == EPOCHS - 1 or trial.state is not TrialState.RUNNING:
            records += self.chief.complete(attempt, Instant(0, 0))
            self.observe(records)
            self.suggester.ended(trial.trial_id, trial.state, trial.score, trial.best_epoch)
            del self.turns[worker]
        else:
            self.observe(records)
        self.journal += records
        self.reports += 1

    def observe(self, records: list[Record]) -> None:
        for observation in observations(self.state, records):
            self.suggester.observe(observation)

    def story(self) -> list[tuple[object, ...]]:
        """Return each trial's hyperparameters and what became of it."""
        return [
            (trial.trial_id, trial.hyperparameters, trial.state, trial.epochs, trial.reason)
            for trial in self.state.trials.values()
        ]


@cache
def undisturbed(algorithm: Algorithm, policy: Policy = Policy.STOPPING) -> Search:
    return Search(algorithm, None, policy=policy).run()


# the models are used from the fifth trial with a score on
@pytest.mark.parametrize("with_snapshot", [False, True])
@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
@pytest.mark.parametrize("algorithm", [Algorithm.RANDOM, Algorithm.BAYESIAN, Algorithm.TPE, Algorithm.GRID])
@pytest.mark.parametrize("policy", [Policy.STOPPING, Policy.PROMOTION])
def test_a_chief_killed_in_the_midst_makes_the_same_search(
    policy: Policy, algorithm: Algorithm, share: float, with_snapshot: bool
) -> None:
    whole = undisturbed(algorithm, policy)
    killed = Search(algorithm, int(whole.reports * share), with_snapshot, policy).run()
    assert killed.state.term == 2
    assert killed.story() == whole.story()


@pytest.mark.parametrize("algorithm", [Algorithm.RANDOM, Algorithm.BAYESIAN, Algorithm.TPE, Algorithm.GRID])
def test_the_searches_that_are_compared_pause_trials_and_promote_some(algorithm: Algorithm) -> None:
    trials = undisturbed(algorithm, Policy.PROMOTION).state.trials.values()
    assert len(trials) == TRIALS
    assert sum(trial.pauses for trial in trials) >= 8
    assert max(trial.attempts for trial in trials) >= 2


@pytest.mark.parametrize("algorithm", [Algorithm.RANDOM, Algorithm.BAYESIAN, Algorithm.TPE, Algorithm.GRID])
def test_the_searches_that_are_compared_stop_trials_early(algorithm: Algorithm) -> None:
    trials = undisturbed(algorithm).state.trials.values()
    states = [trial.state for trial in trials]
    assert len(states) == TRIALS
    assert states.count(TrialState.STOPPED) >= 4
    assert states.count(TrialState.COMPLETED) >= 2
    assert len({tuple(trial.hyperparameters.items()) for trial in trials}) > TRIALS / 2
