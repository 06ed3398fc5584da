"""Early stopping: who goes on beyond a rung, and that a decision once taken stays taken."""

import math
import random

import pytest

from tests.search.test_oracle import A, B, add, at, oracle, take
from tuner.config.loading import load
from tuner.config.settings import EarlyStopping, Policy
from tuner.names import TrialId
from tuner.search.claims import AttemptClaim, StaleAttemptError, stock_attempt
from tuner.search.early_stopping import Rungs
from tuner.search.leases import Worker
from tuner.search.oracle import Oracle
from tuner.search.suggester import Suggestion
from tuner.study.evidence import Evidence
from tuner.study.objective import Objective
from tuner.study.records import RECORD, Ended, Opened, Outcome, Record, Reported, TrialState
from tuner.study.rungs import rung_at
from tuner.study.state import StudyState

ASHA = EarlyStopping(policy=Policy.STOPPING)


def epochs(chief: Oracle, attempt: AttemptClaim, *values: float, first: int = 0) -> list[Record]:
    """Report epochs from `first` on while the trial runs; return the records."""
    records: list[Record] = []
    objective = chief.state.settings.search.objective
    for epoch, value in enumerate(values, first):
        if chief.state.trials[TrialId(attempt.trial)].state is TrialState.RUNNING:
            name = f"{attempt.trial}/{attempt.number}/{epoch}"
            records += chief.report(attempt, epoch, {objective: value}, name, at(epoch))
    return records


def trained(chief: Oracle, number: int, *values: float) -> TrialState:
    """Train one trial to the end of `values`, or to where it is stopped."""
    trial = add(chief, number)
    attempt = take(chief, A)
    epochs(chief, attempt, *values)
    chief.complete(attempt, at(10))
    return chief.state.trials[trial].state


def restart(chief: Oracle, *settings: str) -> Oracle:
    """Return the chief after this one, with nothing but the state."""
    state, study = chief.state, load(settings=settings) if settings else chief.state.settings
    state.apply(Opened(at=0, term=state.term + 1, writer="x", study=study, data="d", direction=state.direction))
    return Oracle(state, at(0))


def taken_up_again(chief: Oracle, attempt: AttemptClaim) -> tuple[Oracle, AttemptClaim]:
    """Take a trial's worker away, start the chief anew, and give the trial to B."""
    chief.give_back(attempt, Outcome.PREEMPTED, "", at(1))
    chief = restart(chief)
    return chief, take(chief, B)


# ---- rungs --------------------------------------------------------------------------------------
def test_each_rung_has_reduction_factor_times_the_epochs_of_the_one_before() -> None:
    settings = EarlyStopping(policy=Policy.STOPPING, min_epochs=2, reduction_factor=4)
    assert {e: rung for e in range(1, 130) if (rung := rung_at(settings, e)) is not None} == {2: 0, 8: 1, 32: 2, 128: 3}


def test_no_policy_has_no_rungs() -> None:
    assert [rung_at(EarlyStopping(policy=Policy.NONE), e) for e in range(1, 100)] == [None] * 99


@pytest.mark.parametrize("direction", ["max", "min"])
def test_who_goes_on_is_whoever_is_among_the_best_share_of_all_that_reached_the_rung(direction: str) -> None:
    numbers = random.Random(1)
    sign = 1 if direction == "max" else -1
    rungs, reached = Rungs(ASHA, Objective("val_accuracy", direction)), []  # type: ignore[arg-type]
    for _ in range(300):
        value = numbers.choice([0.1, 0.2, 0.3, numbers.random()])  # with ties
        rungs.add(0, sign * value)
        reached.append(value)
        best = sorted(reached, reverse=True)[: len(reached) // 3]
        assert (rungs.judge(0, sign * value) is None) == (not best or value >= best[-1])


def test_as_long_as_few_have_reached_a_rung_all_go_on_at_the_first_and_the_best_one_at_later_ones() -> None:
    rungs = Rungs(ASHA, Objective("val_accuracy"))
    for rung in (0, 1, 2):
        rungs.add(rung, 0.5)
        assert rungs.judge(rung, 0.5) is None
        rungs.add(rung, 0.6)
        assert rungs.judge(rung, 0.6) is None
        assert (rungs.judge(rung, 0.5) is None) == (rung == 0)


def test_a_trial_counted_no_longer_holds_no_one_back() -> None:
    rungs = Rungs(ASHA, Objective("val_accuracy"))
    for value in (0.9, 0.8, 0.5):
        rungs.add(0, value)
    assert rungs.judge(0, 0.5) is not None
    rungs.remove(0, 0.9)
    rungs.remove(0, 0.8)
    rungs.add(0, 0.4)
    rungs.add(0, 0.3)
    assert rungs.judge(0, 0.5) is None


# ---- in a search --------------------------------------------------------------------------------
def test_the_first_trials_at_the_first_rung_go_on_and_a_later_one_must_be_among_the_best() -> None:
    chief = oracle("training.epochs=5")
    states = [trained(chief, n, *[value] * 5) for n, value in enumerate((0.5, 0.4, 0.3, 0.6, 0.55, 0.55, 0.1))]
    run = [len(trial.epochs) for trial in chief.state.trials.values()]
    # at epoch 1, 0.55 is not the best of 5 but among the best 2 of 6; at epoch 3 it is not the best, as 0.4 was not
    assert run == [5, 3, 1, 5, 1, 3, 1]
    assert [state is TrialState.STOPPED for state in states] == [epochs < 5 for epochs in run]


def behind(chief: Oracle) -> AttemptClaim:
    """Two trials that get better, and a third, first at rung 0 and behind at rung 1."""
    trained(chief, 0, 0.5, 0.7, 0.9, 0.9, 0.9)
    trained(chief, 1, 0.4, 0.7, 0.9, 0.9, 0.9)
    add(chief, 2)
    return take(chief, A)


def test_a_stopped_trial_says_at_which_rung_and_why_and_keeps_its_score_and_model() -> None:
    chief = oracle("training.epochs=5")
    attempt = behind(chief)
    *_, reported, ended = epochs(chief, attempt, 0.6, 0.8, 0.1)
    assert isinstance(reported, Reported)
    assert isinstance(ended, Ended)
    trial = chief.state.trials[TrialId("00002")]
    assert trial.state is TrialState.STOPPED
    assert trial.reason == "rung 1 (epoch 3): val_accuracy 0.8000 is not the best of 3"
    assert (trial.score, trial.best_epoch, trial.checkpoint, trial.rungs) == (0.8, 1, "00002/1/1", {0: 0.6, 1: 0.8})
    assert trial in chief.state.best(3)


def test_the_best_epoch_up_to_the_rung_is_compared() -> None:
    chief = oracle("training.epochs=5")
    epochs(chief, behind(chief), 0.6, 0.95, 0.1)
    assert chief.state.trials[TrialId("00002")].state is TrialState.RUNNING


def test_the_smallest_loss_goes_on_where_the_objective_is_a_loss() -> None:
    state, study = StudyState(), load(settings=["search.objective=val_loss", "training.epochs=5"])
    state.apply(Opened(at=0, term=1, writer="w", study=study, data="d", direction="min"))
    chief = Oracle(state, at(0))
    for number, loss in enumerate((0.5, 0.6, 0.4, 0.45)):
        trained(chief, number, *[loss] * 5)
    assert [len(trial.epochs) for trial in state.trials.values()] == [5, 3, 5, 1]


def test_no_policy_stops_nobody() -> None:
    chief = oracle("training.epochs=2", "search.early_stopping.policy=none")
    assert [trained(chief, n, 1 - n / 20, 0.0) for n in range(12)] == [TrialState.COMPLETED] * 12


def test_a_rung_at_the_last_epoch_stops_nobody() -> None:
    chief = oracle("training.epochs=3", "search.early_stopping.min_epochs=3")
    assert [trained(chief, n, *[1 - n / 20] * 3) for n in range(12)] == [TrialState.COMPLETED] * 12


def test_what_a_worker_still_says_of_a_stopped_trial_is_answered_and_changes_nothing() -> None:
    chief = oracle("training.epochs=5")
    attempt = behind(chief)
    epochs(chief, attempt, 0.6, 0.8, 0.1)
    snapshot = repr(chief.state)
    assert chief.report(attempt, 2, {"val_accuracy": 0.1}, "00002/1/2", at(3)) == []  # the answer was lost
    assert chief.report(attempt, 3, {"val_accuracy": 1.0}, "00002/1/3", at(3)) == []  # it was under way
    assert chief.beat(attempt, at(3))
    assert chief.complete(attempt, at(3)) == []
    assert chief.give_back(attempt, Outcome.PREEMPTED, "", at(3)) == []
    assert chief.expire(at(1000)) == []
    assert repr(chief.state) == snapshot


@pytest.mark.parametrize("worker", [B, Worker("a", "2"), Worker("a")])
def test_a_stopped_trial_is_no_one_elses(worker: Worker) -> None:
    chief = oracle("training.epochs=5")
    attempt = behind(chief)
    epochs(chief, attempt, 0.6, 0.8, 0.1)
    other = AttemptClaim(worker, attempt.trial, attempt.number)
    assert not chief.beat(other, at(3))
    with pytest.raises(StaleAttemptError):
        chief.report(other, 2, {"val_accuracy": 0.1}, None, at(3))
    with pytest.raises(StaleAttemptError):
        chief.complete(AttemptClaim(A, attempt.trial, attempt.number + 1), at(3))


def test_the_worker_of_a_stopped_trial_gets_another_at_once() -> None:
    chief = oracle("training.epochs=5")
    epochs(chief, behind(chief), 0.6, 0.8, 0.1)
    add(chief, 3)
    assert take(chief, A).trial == "00003"


# ---- interruptions ------------------------------------------------------------------------------
def test_an_epoch_made_again_after_an_interruption_is_not_judged_again() -> None:
    chief = oracle("training.epochs=5")
    add(chief, 0)
    first = take(chief, B)
    chief.report(first, 0, {"val_accuracy": 0.5}, None, at(0))  # goes on; its model is not saved
    for number in range(1, 7):
        trained(chief, number, *[0.9] * 5)
    chief, second = taken_up_again(chief, first)
    epochs(chief, second, 0.5)
    assert chief.state.trials[TrialId("00000")].state is TrialState.RUNNING
    assert chief.state.trials[TrialId("00000")].rungs == {0: 0.5}


def test_a_resumed_trial_is_judged_at_the_next_rung_by_all_its_epochs() -> None:
    chief = oracle("training.epochs=5")
    first = behind(chief)
    epochs(chief, first, 0.6, 0.8)
    chief, second = taken_up_again(chief, first)
    epochs(chief, second, 0.1, first=2)
    trial = chief.state.trials[TrialId("00002")]
    assert (trial.state, trial.attempts, trial.rungs[1]) == (TrialState.STOPPED, 2, 0.8)


def test_a_failed_trial_holds_no_one_back() -> None:
    chief = oracle("training.epochs=5", "retries.failure=0", "search.max_consecutive_failures=9")
    for number in range(4):
        add(chief, number)
        attempt = take(chief, A)
        epochs(chief, attempt, 0.9)
        chief.give_back(attempt, Outcome.FAILED, "", at(1))
    for oracle_ in (chief, restart(chief)):
        add(oracle_, 10 + len(oracle_.state.trials))
        epochs(oracle_, take(oracle_, A), 0.1)
        assert [t.state for t in oracle_.state.trials.values()][-1] is TrialState.RUNNING


def test_a_trial_that_ended_before_a_rung_is_not_counted_there() -> None:
    chief = oracle("training.epochs=5")
    assert trained(chief, 0, 0.9, 0.9) is TrialState.COMPLETED  # its patience was over
    assert trained(chief, 1, 0.5, 0.5, 0.5, 0.5, 0.5) is TrialState.COMPLETED
    assert trained(chief, 2, 0.9, 0.4, 0.4, 0.4, 0.4) is TrialState.COMPLETED
    add(chief, 3)
    assert epochs(chief, take(chief, A), 0.95, 0.95, 0.95)[-1].kind == "reported"


def test_a_trial_without_a_number_for_its_objective_is_neither_counted_nor_stopped() -> None:
    chief = oracle("training.epochs=4", "search.max_consecutive_failures=9")
    for number in range(5):
        assert trained(chief, number, *[math.nan] * 4) is TrialState.FAILED
    assert trained(chief, 5, 0.5, 0.5, 0.5, 0.5) is TrialState.COMPLETED
    assert trained(chief, 6, math.nan, math.nan, 0.7, 0.7) is TrialState.COMPLETED  # too late for rung 0
    assert [trial.rungs for trial in chief.state.trials.values()][4:] == [{}, {0: 0.5, 1: 0.5}, {1: 0.7}]


# ---- a chief started anew -----------------------------------------------------------------------
def search(chief: Oracle, journal: list[Record], restarts: bool) -> StudyState:
    """Train 60 trials, three at a time, in an order that depends on nothing; start the chief anew in between."""
    numbers = random.Random(3)
    running: dict[AttemptClaim, int] = {}
    created = 0
    while created < 60 or running:
        if restarts and numbers.random() < 0.1:
            state = StudyState()
            for record in journal:
                state.apply(RECORD.validate_json(RECORD.dump_json(record)))
            chief = Oracle(state, at(0))
        elif not restarts:
            numbers.random()
        if created < 60 and len(running) < 3:
            journal += chief.add(_suggestion(created), at(0))
            trial, records = chief.grant(Worker(f"w{created}", "1"), at(0))
            assert trial is not None
            journal += records
            running[AttemptClaim(Worker(f"w{created}", "1"), trial.trial_id, 1)] = 0
            created += 1
            continue
        attempt = numbers.choice(list(running))
        epoch = running[attempt]
        running[attempt] += 1
        value = random.Random(f"{attempt.trial}/{epoch}").random()
        journal += chief.report(attempt, epoch, {"val_accuracy": value}, f"{epoch}", at(epoch))
        if chief.state.trials[TrialId(attempt.trial)].state is TrialState.STOPPED or epoch == 9:
            journal += chief.complete(attempt, at(epoch))
            del running[attempt]
    return chief.state


def test_a_restarted_chief_decides_as_the_first_would_have() -> None:
    journals: list[list[Record]] = [[], []]
    states = []
    for journal, restarts in zip(journals, (False, True), strict=True):
        study = load(settings=["training.epochs=10"])
        journal.append(Opened(at=0, term=1, writer="w", study=study, data="d", direction="max"))
        state = StudyState()
        state.apply(journal[0])
        states.append(search(Oracle(state, at(0)), journal, restarts))
    assert journals[0] == journals[1]
    assert states[0] == states[1]
    stopped = [trial for trial in states[0].trials.values() if trial.state is TrialState.STOPPED]
    assert {max(trial.rungs) for trial in stopped} == {0, 1, 2}
    assert {len(trial.epochs) for trial in stopped} > {1, 3, 9}, "some of the first were stopped between rungs"
    assert sum(len(trial.epochs) for trial in states[0].trials.values()) < 0.4 * 60 * 10


def test_more_epochs_make_more_rungs_at_which_trials_of_before_count() -> None:
    chief = oracle("training.epochs=3")
    assert [trained(chief, number, 0.5, 0.9, 0.9) for number in range(3)] == [TrialState.COMPLETED] * 3
    longer = restart(chief, "training.epochs=10")
    add(longer, 3)
    ended = epochs(longer, take(longer, A), 0.6, 0.6, 0.6)[-1]
    assert isinstance(ended, Ended)
    assert ended.reason == "rung 1 (epoch 3): val_accuracy 0.6000 is not the best of 4"


def test_more_trials_are_compared_with_those_of_before() -> None:
    chief = oracle("search.max_trials=3", "training.epochs=2")
    for number in range(3):
        trained(chief, number, 0.5, 0.5)
    more = restart(chief, "search.max_trials=4", "training.epochs=2")
    assert trained(more, 3, 0.4) is TrialState.STOPPED


# ---- Keras Tuner's own workers ------------------------------------------------------------------
def test_a_stock_trial_that_is_reported_once_at_its_end_is_not_called_stopped() -> None:
    chief = oracle("training.epochs=5")
    for number in range(6):
        add(chief, number)
        take(chief, Worker("tuner0"))
        stock = stock_attempt(TrialId(f"{number:05d}"), 1, chief.state.trials)
        chief.report(stock, 0, {"val_accuracy": 1 - number / 10}, None, at(0))  # as of its best epoch
        chief.complete(stock, at(0))
    assert {trial.state for trial in chief.state.trials.values()} == {TrialState.COMPLETED}


def test_a_stock_worker_that_reports_every_epoch_is_stopped_and_may_end_its_trial() -> None:
    chief = oracle("training.epochs=5")
    behind(chief)
    chief.join(Worker("a", "2"), at(0))
    stock = take(chief, Worker("tuner0"))
    epochs(chief, stock_attempt(TrialId("00002"), stock.number, chief.state.trials), 0.6, 0.8, 0.1)
    assert chief.state.trials[TrialId("00002")].state is TrialState.STOPPED
    snapshot = repr(chief.state)
    assert chief.complete(stock_attempt(TrialId("00002"), stock.number, chief.state.trials), at(9)) == []
    assert repr(chief.state) == snapshot


def _suggestion(number: int) -> Suggestion:
    return Suggestion(TrialId(f"{number:05d}"), {"units": number}, {})


# ---- objectives that `fit` returned -----------------------------------------------------------------


RETURNING = ("training.epochs=4", "search.early_stopping.min_epochs=1", "search.early_stopping.reduction_factor=3")


def returned(chief: Oracle, attempt: AttemptClaim, epoch: int, value: float) -> None:
    """Report what a space's own `fit` returned, and end the trial."""
    chief.report(attempt, epoch, {"val_accuracy": value}, "r", at(9), evidence=Evidence(verified=False, returned=True))
    chief.complete(attempt, at(9))


def test_a_trial_is_not_stopped_because_the_fit_of_another_one_returned_more_than_its_epochs_had() -> None:
    chief = oracle(
        "training.epochs=4", "search.early_stopping.min_epochs=1", "search.early_stopping.reduction_factor=3"
    )
    for number in range(3):
        add(chief, number)
    epochs(chief, first := take(chief, A), 0.5, 0.5, 0.5, 0.5)
    returned(chief, first, 3, 0.9)
    epochs(chief, second := take(chief, B), 0.3)
    epochs(chief, third := take(chief, A), 0.4)
    assert chief.state.trials[TrialId(third.trial)].state is TrialState.STOPPED
    epochs(chief, second, 0.6, first=1)  # above the epochs of the first trial
    assert chief.state.trials[TrialId(second.trial)].state is TrialState.RUNNING


def test_a_returned_objective_reaches_no_rung_and_stops_nothing() -> None:
    chief = oracle(
        "training.epochs=4", "search.early_stopping.min_epochs=1", "search.early_stopping.reduction_factor=3"
    )
    add(chief, 0)
    returned(chief, attempt := take(chief, A), 2, 0.9)
    trial = chief.state.trials[TrialId(attempt.trial)]
    assert (trial.state, trial.score, trial.rungs) == (TrialState.COMPLETED, 0.9, {})
