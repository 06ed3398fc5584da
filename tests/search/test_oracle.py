"""Leases, attempts, budgets: what the oracle promises, without processes."""

import pytest

from tuner.config.formats import COMPATIBLE, FORMAT
from tuner.config.loading import load
from tuner.names import TrialId
from tuner.search.claims import AttemptClaim, BadReportError, Instant, StaleAttemptError, UnknownTrialError
from tuner.search.leases import Worker
from tuner.search.oracle import Oracle
from tuner.search.suggester import Suggestion
from tuner.study.evidence import Evidence
from tuner.study.records import Ended, FaultScope, Finished, Opened, Outcome, Reported, TrialState
from tuner.study.state import StudyState
from tuner.study.trial import Trial

A, B = Worker("a", "1"), Worker("b", "1")


def at(seconds: float) -> Instant:
    return Instant(1e9 + seconds, seconds)


def oracle(*settings: str) -> Oracle:
    state = StudyState()
    state.apply(Opened(at=0, term=1, writer="w", study=load(settings=settings), data="d", direction="max"))
    return Oracle(state, at(0))


def add(chief: Oracle, number: int = 0) -> TrialId:
    trial = TrialId(f"{number:05d}")
    chief.add(Suggestion(trial, {"units": number}, {}), at(0))
    return trial


def take(chief: Oracle, worker: Worker, seconds: float = 0) -> AttemptClaim:
    trial, _ = chief.grant(worker, at(seconds))
    assert trial is not None
    return AttemptClaim(worker, trial.trial_id, trial.attempts)


def finish(chief: Oracle, attempt: AttemptClaim, value: float = 0.5) -> None:
    chief.report(attempt, 0, {"val_accuracy": value}, f"{attempt.trial}.keras", at(1))
    chief.complete(attempt, at(1))


def test_a_silent_workers_trial_goes_to_another_worker_as_the_next_attempt() -> None:
    chief = oracle()
    add(chief)
    first = take(chief, A)
    assert chief.expire(at(29.9)) == []
    chief.expire(at(30))
    second = take(chief, B, 30)
    assert (second.trial, second.number) == (first.trial, 2)


def test_heartbeats_keep_a_lease() -> None:
    chief = oracle()
    add(chief)
    attempt = take(chief, A)
    for seconds in range(10, 100, 10):
        assert chief.beat(attempt, at(seconds))
        assert chief.expire(at(seconds + 5)) == []


def test_an_old_attempt_can_neither_report_nor_complete_nor_beat_nor_give_back() -> None:
    chief = oracle()
    add(chief)
    old = take(chief, A)
    chief.expire(at(30))
    new = take(chief, B, 30)
    snapshot = repr(chief.state)
    with pytest.raises(StaleAttemptError):
        chief.report(old, 0, {"val_accuracy": 0.9}, None, at(31))
    with pytest.raises(StaleAttemptError):
        chief.complete(old, at(31))
    with pytest.raises(StaleAttemptError):
        chief.give_back(old, Outcome.FAILED, "", at(31))
    assert not chief.beat(old, at(31))
    assert repr(chief.state) == snapshot
    finish(chief, new)
    assert chief.state.trials[TrialId("00000")].state is TrialState.COMPLETED


def test_a_new_process_of_a_worker_ends_the_old_ones_lease_at_once() -> None:
    chief = oracle()
    add(chief)
    old = take(chief, A)
    reborn = Worker("a", "2")
    chief.join(reborn, at(1))
    assert take(chief, reborn, 1).number == 2
    with pytest.raises(StaleAttemptError):
        chief.complete(old, at(2))


def test_a_worker_that_did_not_hear_the_answer_gets_the_same_attempt_again() -> None:
    chief = oracle()
    add(chief, 0)
    add(chief, 1)
    assert take(chief, A) == take(chief, A)


def test_a_stock_worker_that_asks_again_was_restarted_and_gets_a_new_attempt() -> None:
    chief = oracle()
    add(chief)
    stock = Worker("tuner0")
    assert take(chief, stock).number == 1
    assert take(chief, stock).number == 2


def test_stock_workers_have_the_long_lease() -> None:
    chief = oracle("leases.stock_duration_s=500.0")
    add(chief)
    take(chief, Worker("tuner0"))
    assert chief.expire(at(499)) == []
    assert chief.expire(at(500)) != []


def test_the_same_report_twice_is_one() -> None:
    chief = oracle()
    add(chief)
    attempt = take(chief, A)
    assert chief.report(attempt, 0, {"val_accuracy": 0.5}, "m", at(1)) != []
    assert chief.report(attempt, 0, {"val_accuracy": 0.5}, "m", at(2)) == []
    assert chief.complete(attempt, at(3)) != []
    assert chief.complete(attempt, at(4)) == []


def test_the_same_report_twice_is_one_though_it_has_a_metric_that_is_no_number() -> None:
    chief = oracle()
    add(chief)
    attempt = take(chief, A)

    def report(epoch: int) -> int:
        metrics = {"val_accuracy": 0.5, "recall": float("nan")}
        return len(chief.report(attempt, epoch, metrics, f"m{epoch}", at(1)))

    assert [report(0), report(1), report(0), report(1)] == [1, 1, 0, 0]
    assert list(chief.state.trials[TrialId("00000")].epochs) == [0, 1]


def test_a_report_without_the_objective_is_refused_with_the_metrics_there_are() -> None:
    chief = oracle()
    add(chief)
    with pytest.raises(BadReportError, match=r"'val_accuracy'.*loss, val_loss"):
        chief.report(take(chief, A), 0, {"loss": 1.0, "val_loss": 1.0}, None, at(1))


def test_an_unknown_trial_is_refused() -> None:
    with pytest.raises(UnknownTrialError):
        oracle().complete(AttemptClaim(A, "00009", 1), at(0))


@pytest.mark.parametrize(
    ("outcome", "setting", "attempts"),
    [
        (Outcome.FAILED, "retries.failure=2", 3),
        (Outcome.OUT_OF_MEMORY, "retries.out_of_memory=3", 4),
        (Outcome.PREEMPTED, "retries.preemption=10", 11),
        (Outcome.LOST, "retries.preemption=10", 11),
        (Outcome.INVALID, "retries.failure=5", 1),
        (Outcome.FAILED, "retries.failure=0", 1),
    ],
)
def test_a_trial_over_its_budget_is_failed_with_its_reason(outcome: Outcome, setting: str, attempts: int) -> None:
    chief = oracle(setting)
    trial = chief.state.trials
    add(chief)
    for number in range(1, attempts + 1):
        assert trial[TrialId("00000")].state is TrialState.QUEUED
        attempt = take(chief, A)
        assert attempt.number == number
        chief.give_back(attempt, outcome, "because", at(0))
    assert trial[TrialId("00000")].state is TrialState.FAILED
    assert trial[TrialId("00000")].reason.startswith("because")


def test_budgets_are_counted_apart() -> None:
    chief = oracle("retries.failure=1", "retries.out_of_memory=1")
    add(chief)
    for outcome in (Outcome.FAILED, Outcome.OUT_OF_MEMORY, Outcome.PREEMPTED, Outcome.LOST):
        chief.give_back(take(chief, A), outcome, "", at(0))
    assert chief.state.trials[TrialId("00000")].state is TrialState.QUEUED


def test_consecutive_failures_of_different_trials_end_the_search_with_the_first_reason() -> None:
    chief = oracle("search.max_consecutive_failures=2", "retries.failure=0")
    for number in range(4):
        add(chief, number)
    for number, reason in enumerate(("first", "second")):
        assert chief.finish(at(0)) == []
        chief.give_back(take(chief, A), Outcome.FAILED, reason, at(number))
    chief.finish(at(2))
    assert chief.state.finished is not None
    assert chief.state.finished.failed
    assert "first" in chief.state.finished.reason
    assert chief.grant(A, at(3)) == (None, [])


def test_a_success_between_failures_keeps_the_search_going() -> None:
    chief = oracle("search.max_consecutive_failures=2", "retries.failure=0")
    for number in range(3):
        add(chief, number)
    chief.give_back(take(chief, A), Outcome.FAILED, "", at(0))
    finish(chief, take(chief, A))
    chief.give_back(take(chief, A), Outcome.FAILED, "", at(0))
    assert chief.finish(at(1)) == []


def test_the_search_ends_only_when_no_trial_is_queued_or_running() -> None:
    chief = oracle()
    add(chief)
    chief.exhausted = True
    assert chief.finish(at(0)) == []
    attempt = take(chief, A)
    assert chief.finish(at(0)) == []
    finish(chief, attempt)
    assert chief.finish(at(1)) != []
    assert chief.finish(at(2)) == []


def test_a_chief_that_takes_over_gives_running_trials_a_whole_lease_and_hears_their_workers() -> None:
    predecessor = oracle()
    add(predecessor, 0)
    add(predecessor, 1)
    attempt = take(predecessor, A)
    state = predecessor.state
    state.apply(Opened(at=0, term=2, writer="x", study=state.settings, data="d", direction="max"))
    after = Oracle(state, at(1000))
    assert after.expire(at(1029)) == []
    finish(after, attempt)
    assert take(after, B).trial == "00001"


def test_nan_is_never_the_best_epoch() -> None:
    chief = oracle()
    add(chief)
    attempt = take(chief, A)
    for epoch, value in enumerate((0.4, float("nan"), 0.6, 0.5)):
        chief.report(attempt, epoch, {"val_accuracy": value}, f"{epoch}", at(1))
    chief.complete(attempt, at(2))
    trial = chief.state.best()[0]
    assert (trial.score, trial.best_epoch, trial.checkpoint) == (0.6, 2, "2")


def test_an_attempt_that_began_anew_makes_the_epochs_after_its_report_again() -> None:
    chief = oracle()
    add(chief)
    first = take(chief, A)
    for epoch, value in enumerate((0.5, 0.6, 0.9)):
        chief.report(first, epoch, {"val_accuracy": value}, f"1/{epoch}", at(1))
    chief.give_back(first, Outcome.PREEMPTED, "", at(1))
    second = take(chief, A)
    for epoch, value in enumerate((0.7, 0.5)):
        chief.report(second, epoch, {"val_accuracy": value}, f"2/{epoch}", at(2))
    chief.complete(second, at(3))
    trial = chief.state.best()[0]
    assert (trial.score, trial.checkpoint, len(trial.epochs)) == (0.7, "2/0", 2)


def test_epochs_without_a_saved_model_are_forgotten_with_their_attempt() -> None:
    chief = oracle()
    add(chief)
    first = take(chief, A)
    chief.report(first, 0, {"val_accuracy": 0.5}, "1/0", at(1))
    chief.report(first, 1, {"val_accuracy": 0.9}, None, at(1))
    chief.give_back(first, Outcome.LOST, "", at(1))
    second = take(chief, A)
    trial = chief.state.trials[TrialId("00000")]
    assert (list(trial.epochs), trial.best_epoch, trial.last_epoch) == ([0], 0, 0)
    chief.complete(second, at(2))
    assert trial.score == 0.5


def test_a_trial_without_a_usable_objective_fails() -> None:
    chief = oracle()
    add(chief)
    chief.complete(take(chief, A), at(0))
    assert chief.state.trials[TrialId("00000")].state is TrialState.FAILED


def test_the_smallest_loss_is_best_where_the_objective_is_a_loss() -> None:
    state = StudyState()
    study = load(settings=["search.objective=val_loss"])
    state.apply(Opened(at=0, term=1, writer="w", study=study, data="d", direction="min"))
    chief = Oracle(state, at(0))
    for number, loss in enumerate((0.5, 0.2, 0.9)):
        add(chief, number)
        attempt = take(chief, A)
        chief.report(attempt, 0, {"val_loss": loss}, "m", at(1))
        chief.complete(attempt, at(1))
    assert [trial.trial_id for trial in state.best(3)] == ["00001", "00000", "00002"]


def test_a_report_of_an_attempt_that_is_not_the_newest_contradicts_the_journal() -> None:
    state = oracle().state
    state.trials[TrialId("t")] = Trial(TrialId("t"), {}, state=TrialState.RUNNING, attempts=2)
    with pytest.raises(ValueError, match="attempt 1"):
        state.apply(Reported(at=0, trial=TrialId("t"), attempt=1, epoch=0, metrics={}))


def test_a_fault_that_every_trial_shares_ends_the_search_at_once() -> None:
    chief = oracle("retries.failure=5")
    add(chief, 0)
    add(chief, 1)
    other = take(chief, B)
    records = chief.give_back(take(chief, A), Outcome.INVALID, "no loss\ntrace", at(1), scope=FaultScope.SHARED)
    assert [type(record) for record in records] == [Ended, Finished]
    assert chief.state.shared_fault == "every trial would fail as trial 00001 did: no loss"
    assert chief.state.finished is not None
    assert chief.state.finished.failed
    assert not chief.state.is_over(chief.state.settings), "the search begins again once the fault is fixed"
    assert chief.grant(A, at(2)) == (None, [])
    with pytest.raises(StaleAttemptError):
        chief.report(other, 0, {"val_accuracy": 0.5}, None, at(2))


def test_a_fault_is_that_of_its_trial_if_another_trial_was_trained() -> None:
    chief = oracle()
    add(chief, 0)
    add(chief, 1)
    chief.report(take(chief, B), 0, {"val_accuracy": 0.5}, None, at(1))
    attempt = take(chief, A)
    chief.give_back(attempt, Outcome.INVALID, "no loss", at(2), scope=FaultScope.SHARED)
    assert chief.state.finished is None
    assert chief.state.trials[TrialId(attempt.trial)].state is TrialState.FAILED
    assert chief.state.shared_fault == ""


def test_a_fault_that_is_likely_shared_waits_for_the_trials_of_other_workers() -> None:
    chief = oracle("search.max_consecutive_failures=5")
    for number in range(3):
        add(chief, number)
    attempts = [take(chief, A), take(chief, B)]
    first, second = attempts
    chief.give_back(first, Outcome.INVALID, "no loss", at(1), scope=FaultScope.LIKELY)
    assert chief.state.finished is None
    assert chief.state.trials[TrialId(first.trial)].state is TrialState.FAILED
    chief.give_back(second, Outcome.INVALID, "no loss", at(2), scope=FaultScope.LIKELY)
    assert chief.state.shared_fault == f"every trial would fail as trial {second.trial} did: no loss"


def test_a_trial_whose_hyperparameters_the_model_refuses_says_so_in_the_journal() -> None:
    chief = oracle()
    add(chief)
    (ended,) = chief.give_back(take(chief, A), Outcome.INVALID, "Mine: too large", at(1), scope=FaultScope.REFUSED)
    assert isinstance(ended, Ended)
    assert ended.refused
    assert chief.state.trials[ended.trial].refused
    assert chief.state.finished is None


def test_a_fault_of_the_study_ends_the_search_even_if_another_trial_was_trained() -> None:
    chief = oracle("retries.failure=5")
    add(chief, 0)
    add(chief, 1)
    finish(chief, take(chief, B))
    chief.give_back(take(chief, A), Outcome.FAILED, "no data\ntrace", at(2), scope=FaultScope.STUDY)
    assert chief.state.shared_fault == "trial 00001 raised FatalError, which ends the search: no data"


def test_an_objective_that_fit_returned_is_the_trials_score_and_is_not_lost_with_its_worker() -> None:
    chief = oracle("training.epochs=2")
    add(chief)
    attempt = take(chief, A)
    for epoch, value in enumerate((0.9, 0.8)):
        chief.report(attempt, epoch, {"val_accuracy": value}, f"m{epoch}", at(1), evidence=Evidence(verified=True))
    trial = chief.state.trials[TrialId(attempt.trial)]
    assert (trial.best_epoch, trial.verified) == (0, True)
    returned = Evidence(verified=False, returned=True)
    assert chief.state.needed_format == COMPATIBLE
    assert chief.report(attempt, 1, {"val_accuracy": 0.8}, "m1", at(2), evidence=returned) != []
    assert chief.state.needed_format == FORMAT, "readers of 1.x would choose the other epoch"
    assert chief.report(attempt, 1, {"val_accuracy": 0.8}, "m1", at(2), evidence=returned) == []
    chief.expire(at(99))
    second = take(chief, B, 99)
    chief.complete(second, at(100))
    assert (trial.state, trial.score, trial.best_epoch) == (TrialState.COMPLETED, 0.8, 1)
    assert trial.verified is False
