"""The oracle under random calls of workers, against what must hold."""

import pickle
import random
from collections import Counter
from typing import Any

import pytest

from tuner.config.loading import load
from tuner.config.settings import Policy, Study
from tuner.names import TrialId
from tuner.search.claims import AttemptClaim, BadReportError, Instant, StaleAttemptError, stock_attempt
from tuner.search.leases import Worker
from tuner.search.oracle import Oracle
from tuner.search.suggester import Suggestion
from tuner.study.records import (
    RECORD,
    Ended,
    Opened,
    Outcome,
    Record,
    TrialState,
    Withdrawn,
)
from tuner.study.state import StudyState
from tuner.study.trial import SCORED, Trial
from tuner.study.worker_hours import worker_time


class Night:
    """An oracle, its journal, and workers that come, go, lie and fall silent, all out of one seed."""

    def __init__(self, seed: int, policy: Policy = Policy.STOPPING, budgets: tuple[str, ...] = ()) -> None:
        self.numbers = random.Random(seed)
        self.study: Study = load(
            settings=[
                "search.max_trials=12", "training.epochs=6", "retries.preemption=10", "retries.failure=1",
                "search.max_consecutive_failures=4", "leases.stock_duration_s=90.0",
                f"search.early_stopping.policy={policy}", *budgets,
            ]
        )  # fmt: skip
        self.journal: list[Record] = []
        self.state = StudyState()
        self.time = 0.0
        self.workers = [Worker(f"w{n}", "0") for n in range(4)] + [Worker("stock0"), Worker("stock1")]
        self.attempts: list[AttemptClaim] = []
        """All that were ever granted."""
        self.closed = 0
        """Number of steps before which only finalists might start, because a budget was about to end."""
        self.settled: dict[TrialId, bytes] = {}
        """How trials were when they ended, or when the state was made again of the journal."""
        self.restart()

    def now(self) -> Instant:
        return Instant(1e9 + self.time, self.time)

    def keep(self, records: list[Record]) -> list[Record]:
        self.journal += records
        return records

    def restart(self) -> None:
        """Begin a term with nothing but the journal's bytes."""
        state = StudyState()
        for record in self.journal:
            state.apply(RECORD.validate_json(RECORD.dump_json(record, by_alias=True)))
        assert repr(state) == repr(self.state)
        opened = Opened(at=0, term=state.term + 1, writer="w", study=self.study, data="d", direction="max")
        state.apply(opened)
        self.journal.append(opened)
        self.state = state
        self.settled.clear()  # equal objects may be pickled in two ways; that they are equal is asserted above
        self.chief = Oracle(state, self.now())
        self.chief.exhausted = len(state.trials) >= (self.study.search.max_trials or 0)

    # ---- what workers do ------------------------------------------------------------------------

    def grant(self, worker: Worker) -> None:
        if self.chief.wants_suggestion:
            number = len(self.state.trials)
            if number < (self.study.search.max_trials or 0):
                suggestion = Suggestion(TrialId(f"{number:05d}"), {"units": number}, {})
                self.keep(self.chief.add(suggestion, self.now()))
            else:
                self.chief.exhausted = True
        trial, records = self.chief.grant(worker, self.now())
        self.keep(records)
        if trial is not None:
            self.attempts.append(AttemptClaim(worker, trial.trial_id, trial.attempts))

    def act(self) -> None:
        self.closed += self.chief._waiting.is_closing
        choice = self.numbers.random()
        worker = self.numbers.choice(self.workers)
        if choice < 0.25:
            self.grant(worker)
        elif choice < 0.30:
            self.time += self.numbers.choice([1, 10, 29, 31, 100, 4000])
        elif choice < 0.35:
            self.keep(self.chief.expire(self.now()))
        elif choice < 0.39 and not worker.stock:
            reborn = Worker(worker.name, str(int(worker.incarnation) + 1))
            self.workers[self.workers.index(worker)] = reborn
            self.keep(self.chief.join(reborn, self.now()))
        elif choice < 0.40:
            self.restart()
        elif self.attempts:
            # mostly the newest ones, sometimes one long over
            recent = self.attempts[-8:] if self.numbers.random() < 0.9 else self.attempts
            self.speak(self.numbers.choice(recent))
        self.keep(self.chief.finish(self.now()))

    def speak(self, attempt: AttemptClaim) -> None:
        """Let an attempt say something, as a worker of ours or a stock one; where it is refused, nothing changes."""
        trial = self.state.trials[TrialId(attempt.trial)]
        newest = self.is_newest(attempt)
        snapshot = pickle.dumps(self.state)
        try:
            if attempt.worker.stock:
                attempt = stock_attempt(TrialId(attempt.trial), attempt.number, self.chief.state.trials)
            records = self.send(attempt, trial)
        except StaleAttemptError:
            assert pickle.dumps(self.state) == snapshot
            assert not newest
            return
        except BadReportError:
            assert pickle.dumps(self.state) == snapshot
            return
        assert records == [] or newest
        assert records != [] or pickle.dumps(self.state) == snapshot
        self.keep(records)

    def is_newest(self, attempt: AttemptClaim) -> bool:
        trial = self.state.trials[TrialId(attempt.trial)]
        running = trial.state is TrialState.RUNNING and not self.given_up
        return running and (trial.attempts, trial.worker) == (attempt.number, attempt.worker.name)

    @property
    def given_up(self) -> bool:
        """Whether the search was ended by its failures, and with it all leases."""
        return self.state.finished is not None and self.state.finished.failed

    def send(self, attempt: AttemptClaim, trial: Trial) -> list[Record]:
        what = self.numbers.random()
        if what < 0.15:
            accepted = self.chief.beat(attempt, self.now())
            result_of = trial.state in {*SCORED, TrialState.PAUSED} and trial.attempts == attempt.number
            # not if a budget ended the trial within an epoch, or while it waited after the attempt
            result_of &= not self.chief._budgets.was_cut(trial) and trial.worker == attempt.worker.name
            assert accepted == (result_of or self.is_newest(attempt))
            return []
        if what < 0.70:
            epoch = max(trial.epochs, default=-1) + 1 if self.numbers.random() < 0.9 else self.numbers.randrange(6)
            value = self.numbers.choice([float("nan"), 0.5, self.numbers.random(), self.numbers.random()])
            name = "val_accuracy" if self.numbers.random() < 0.98 else "accuracy"
            saved = f"{attempt.trial}/{attempt.number}/{epoch}" if self.numbers.random() < 0.8 else None
            return self.chief.report(attempt, min(epoch, 5), {name: value}, saved, self.now())
        if what < 0.85:
            return self.chief.complete(attempt, self.now())
        outcome = self.numbers.choice([*Outcome, Outcome.PREEMPTED, Outcome.PREEMPTED])
        return self.chief.give_back(attempt, outcome, "because", self.now())

    # ---- what must hold -------------------------------------------------------------------------

    def check(self) -> None:
        trials, needed = self.state.trials, self.chief.needed_workers
        if needed is not None and not self.state.finished:  # no worker leaves that a trial needs
            assert not self.chief.starts_trials
            assert needed >= self.chief.queued + sum(trial.state is TrialState.RUNNING for trial in trials.values())
        by_state = {s: [t.trial_id for t in trials.values() if t.state is s] for s in TrialState}
        if not self.given_up:  # every running trial has one lease, every queued one waits once
            leased = {
                lease.trial: lease.attempt for w in self.workers for lease in self.chief._leases.of_worker(w.name)
            }
            assert leased == {trial: trials[trial].attempts for trial in by_state[TrialState.RUNNING]}
            assert len(self.chief._leases) == len(leased)
        waiting = self.chief._waiting
        if not self.state.finished:  # at the end, a budget may withdraw queued trials
            assert Counter(waiting.queue) == Counter(by_state[TrialState.QUEUED])
        if waiting.promotion:
            places = [place for rung in waiting.promotion._paused.values() for place in rung]
            assert Counter(trial for _, trial in places) == Counter(by_state[TrialState.PAUSED])
            assert len(waiting.promotion._by_score) == len(places)
        for worker in self.workers:
            assert len(self.chief._leases.of_worker(worker.name)) <= 1
        ended = [trial for s in (*SCORED, TrialState.FAILED) for trial in by_state[s]]
        assert sorted(ended) == sorted(self.state.ended)
        for trial_id in ended:
            now = pickle.dumps(trials[trial_id])
            assert self.settled.setdefault(trial_id, now) == now
        for trial in trials.values():
            self.check_budgets(trial)

    def check_budgets(self, trial: Trial) -> None:
        retries, spent = self.study.retries, trial.outcomes
        for count, budget in (
            (spent[Outcome.PREEMPTED] + spent[Outcome.LOST], retries.preemption),
            (spent[Outcome.FAILED], retries.failure),
            (spent[Outcome.OUT_OF_MEMORY], retries.out_of_memory),
            (spent[Outcome.INVALID], 0),
        ):
            assert count <= budget or (count == budget + 1 and trial.state is TrialState.FAILED)
        going = trial.state in {TrialState.RUNNING, *SCORED} and not trial.ended_waiting
        assert trial.attempts == sum(spent.values()) + trial.pauses + going
        assert trial.state not in SCORED or trial.score is not None
        is_behind = trial.state in {TrialState.STOPPED, TrialState.PAUSED} and not trial.budget
        assert is_behind == trial.reason.startswith(("rung ", "epoch "))
        assert not trial.budget or trial.state in {TrialState.STOPPED, TrialState.FAILED}

    def drain(self) -> None:
        """Only good workers are left: they work until they are told that the search is over."""
        for _ in range(200):
            if self.state.finished:
                return
            self.time += 4000
            self.keep(self.chief.expire(self.now()))
            worker = self.numbers.choice(self.workers)
            self.grant(worker)
            leased = [a for a in self.attempts if (lease := self.chief._leases.of_trial(TrialId(a.trial))) and
                    (lease.worker, lease.attempt) == (worker, a.number) == (a.worker, a.number)]  # fmt: skip
            for attempt in leased:
                self.keep(self.chief.report(attempt, 5, {"val_accuracy": 0.5}, "m", self.now()))
                self.keep(self.chief.complete(attempt, self.now()))
            self.keep(self.chief.finish(self.now()))
        raise AssertionError("the search does not end")


def seeds(usual: int, all_of_them: int) -> list[Any]:
    """Return seeds of random calls. Those beyond the usual ones take minutes, and run with the exhaustive tests."""
    return [*range(usual), *(pytest.param(seed, marks=pytest.mark.exhaustive) for seed in range(usual, all_of_them))]


BUDGETS = (
    ("search.max_hours=2",),
    ("search.max_worker_hours=5",),
    ("search.patience_trials=4", "training.max_minutes=200"),
)


@pytest.mark.parametrize("policy", [Policy.STOPPING, Policy.PROMOTION])
@pytest.mark.parametrize("seed", seeds(6, 15))
def test_with_budgets_no_trial_with_a_score_is_left_either(seed: int, policy: Policy) -> None:
    night = Night(seed, policy, BUDGETS[seed % len(BUDGETS)])
    for _ in range(600):
        night.act()
        night.check()
        state = night.state
        if state.ending and not state.finished:
            assert not night.chief.wants_suggestion
            assert not night.chief.starts_trials
    night.drain()
    night.check()
    finished = night.state.finished
    assert finished is not None
    ends = Counter(record.trial for record in night.journal if isinstance(record, Ended | Withdrawn))
    assert set(ends.values()) <= {1}
    left = [trial for trial in night.state.trials.values() if trial.trial_id not in ends]
    if not finished.failed:
        assert {trial.state for trial in left} <= {TrialState.QUEUED}
        assert all(trial.best_epoch is None for trial in left)
        assert finished.budget or not left
    times, work = night.state.time, worker_time(night.state)
    assert work.leased_s == pytest.approx(times.leased_s), "each second of a lease has one outcome"
    night.restart()  # from the journal's bytes, to an equal state


def test_the_random_calls_end_searches_by_each_budget() -> None:
    budgets: Counter[str] = Counter()
    closed = 0
    for seed in range(12):
        night = Night(seed, Policy.PROMOTION, BUDGETS[seed % len(BUDGETS)])
        for _ in range(600):
            night.act()
        night.drain()
        budgets.update(trial.budget for trial in night.state.trials.values())
        closed += night.closed
    assert set(budgets) >= {
        "", "search.max_hours", "search.max_worker_hours", "search.patience_trials", "training.max_minutes",
    }  # fmt: skip
    assert closed > 20


@pytest.mark.parametrize("policy", [Policy.STOPPING, Policy.PROMOTION])
@pytest.mark.parametrize("seed", seeds(12, 40))
def test_whatever_workers_do_no_trial_is_lost_and_the_search_ends(seed: int, policy: Policy) -> None:
    night = Night(seed, policy)
    for _ in range(600):
        night.act()
        night.check()
    night.drain()
    night.check()
    ends = Counter(record.trial for record in night.journal if isinstance(record, Ended | Withdrawn))
    assert set(ends.values()) <= {1}
    finished = night.state.finished
    assert finished is not None
    if not finished.failed:
        assert set(ends) == set(night.state.trials)
        assert len(ends) == night.study.search.max_trials
    night.restart()  # from the journal's bytes, to an equal state


def test_the_random_calls_reach_every_state_and_every_outcome() -> None:
    states: Counter[TrialState] = Counter()
    outcomes: Counter[Outcome] = Counter()
    attempts = 0
    paused = 0
    for seed in range(12):
        night = Night(seed, (Policy.STOPPING, Policy.PROMOTION)[seed % 2])
        for _ in range(600):
            night.act()
            paused += any(trial.state is TrialState.PAUSED for trial in night.state.trials.values())
        for trial in night.state.trials.values():
            states[trial.state] += 1
            outcomes.update(trial.outcomes)
            attempts = max(attempts, trial.attempts)
    assert set(states) >= {TrialState.COMPLETED, TrialState.STOPPED, TrialState.FAILED}
    assert paused > 1000
    assert set(outcomes) == set(Outcome)
    assert attempts > 5
