"""An environment's failure costs no trial a retry, and pauses the leasing of trials until a checkpoint is saved."""

import json

import pytest

from tests.search.test_oracle import A, B, add, at, oracle, take
from tuner.search.oracle import Oracle
from tuner.search.outage import FIRST_S, LONGEST_S
from tuner.study.records import RECORD, AttemptEnded, Outcome, TrialState
from tuner.study.views import view_study, view_trial

REASON = "no checkpoint can be saved: 20.1 MiB are needed in the bucket b, and 10.8 MiB are free."


def fail(chief: Oracle, seconds: float, failing_s: float = 60.0) -> AttemptEnded:
    [record] = chief.give_back(take(chief, A, seconds), Outcome.ENVIRONMENT, REASON, at(seconds), failing_s)
    assert isinstance(record, AttemptEnded)
    return record


def test_no_number_of_such_failures_uses_up_a_budget_or_counts_as_an_attempt() -> None:
    chief = oracle("retries.preemption=10", "retries.failure=0")
    trial = chief.state.trials[add(chief)]
    numbers = [fail(chief, 1000 * number).attempt for number in range(40)]
    assert numbers == list(range(1, 41)), "each attempt names its own objects"
    assert (trial.state, view_trial(trial).attempts) == (TrialState.QUEUED, 0)
    attempt = take(chief, A, 50_000)
    chief.report(attempt, 0, {"val_accuracy": 0.5}, "m", at(50_001))
    chief.complete(attempt, at(50_001))
    assert (trial.state, view_trial(trial).attempts) == (TrialState.COMPLETED, 1)


def test_a_lost_worker_is_still_counted() -> None:
    chief = oracle("retries.preemption=10")
    trial = chief.state.trials[add(chief)]
    for number in range(11):
        fail(chief, 10_000 * number)
        chief.give_back(take(chief, A, 10_000 * number + 9000), Outcome.LOST, "silent", at(10_000 * number + 9000))
    assert (trial.state, trial.attempts, view_trial(trial).attempts) == (TrialState.FAILED, 22, 11)


def test_older_versions_read_such_an_end_as_that_of_a_lost_worker() -> None:
    chief = oracle()
    add(chief)
    written = json.loads(RECORD.dump_json(fail(chief, 1)))
    assert (written["outcome"], written["failing_s"]) == ("lost", 60.0)
    assert RECORD.validate_python(written).cause is Outcome.ENVIRONMENT  # type: ignore[union-attr]
    del written["failing_s"]
    assert RECORD.validate_python(written).cause is Outcome.LOST  # type: ignore[union-attr]


def test_one_trial_is_leased_after_each_pause_and_pauses_grow() -> None:
    chief = oracle()
    for number in range(3):
        add(chief, number)
    now, pauses = 100.0, []
    for _ in range(9):
        fail(chief, now)
        began = now
        while chief.is_paused(at(now)):
            assert chief.grant(B, at(now))[0] is None
            now += 1
        pauses.append(now - began)
    assert pauses == [min(LONGEST_S, FIRST_S * 2**number) for number in range(9)]
    probe = take(chief, A, now)
    assert chief.grant(B, at(now))[0] is None, "a probe is not answered yet"
    chief.report(probe, 0, {"val_accuracy": 0.5}, "m", at(now + 1))
    take(chief, B, now + 1)


def test_a_report_without_a_checkpoint_does_not_end_the_pauses() -> None:
    chief = oracle()
    add(chief)
    fail(chief, 100)
    probe = take(chief, A, 100 + FIRST_S)
    chief.report(probe, 0, {"val_accuracy": 0.5}, None, at(106))
    assert chief.state.outage is not None


def test_a_worker_that_lost_the_answer_gets_its_trial_during_a_pause() -> None:
    chief = oracle()
    add(chief, 0)
    add(chief, 1)
    first = take(chief, B, 90)
    fail(chief, 100)
    assert take(chief, B, 101) == first


@pytest.mark.parametrize("failures", [1, 2])
def test_the_status_says_since_when_and_why_no_checkpoint_is_saved(failures: int) -> None:
    chief = oracle()
    add(chief)
    assert view_study(chief.state).problem == ""
    for number in range(failures):
        fail(chief, 1000 + 600 * number, failing_s=300)
    outage = chief.state.outage
    assert outage is not None
    assert (outage.since, outage.attempts) == (1e9 + 700, failures)
    problem = view_study(chief.state).problem
    assert problem.endswith(REASON)
    assert f"({failures} attempt" in problem
    chief.report(take(chief, A, 9000), 0, {"val_accuracy": 0.5}, "m", at(9001))
    assert view_study(chief.state).problem == ""


def test_a_restarted_chief_knows_of_the_outage_and_tries_a_trial_immediately() -> None:
    chief = oracle()
    add(chief)
    fail(chief, 1000)
    replacement = Oracle(chief.state, at(1001))
    assert not replacement.is_paused(at(1001))
    take(replacement, A, 1001)
    assert replacement.is_paused(at(1002))
