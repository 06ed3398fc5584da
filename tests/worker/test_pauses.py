"""How a worker learns that its trial is paused, and how the chief learns what a restart costs."""

import threading
from pathlib import Path
from typing import Any

import pytest

from tests.support.chief import RunningChief
from tests.worker.conftest import nothing
from tuner import names
from tuner.bucket.local import LocalBucket
from tuner.config.loading import load
from tuner.config.settings import Policy, Study
from tuner.study.records import TrialState
from tuner.worker.chief_client import ChiefClient, Grant, Verdict
from tuner.worker.epoch_reporter import Epoch, EpochReporter, IoThreads, StoppedTrialError
from tuner.worker.start_time import StartTime

VERDICTS = {Policy.PROMOTION: Verdict.PAUSED, Policy.NONE: None}


@pytest.fixture(params=list(VERDICTS))
def policy(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def study(policy: Policy) -> Study:
    policies = f"search.early_stopping.policy={policy}"
    return load(settings=["search.max_trials=3", "search.algorithm=random", "training.epochs=9", policies])


def test_a_report_is_answered_with_the_pause_and_carries_the_time_of_the_start(
    policy: Policy, chief: RunningChief, client: ChiefClient, grant: Grant
) -> None:
    name = names.checkpoint("cifake", grant.trial_id, 1, 0)
    report = grant, 0, {"val_accuracy": 0.5}, name, "0" * 64, threading.Event()
    verdicts = [client.report(*report, start_s=1.25), client.report(*report)]  # the first answer may have been lost
    assert verdicts == [VERDICTS[policy]] * 2
    states = chief.ask(lambda state: [(trial.state, trial.start_s) for trial in state.trials.values()])
    assert states == [(TrialState.RUNNING if policy is Policy.NONE else TrialState.PAUSED, 1.25)]
    if policy is Policy.PROMOTION:
        following = client.next_trial(nothing)
        assert following is not None
        assert following.trial_id != grant.trial_id


@pytest.mark.parametrize("policy", [Policy.PROMOTION])
def test_a_paused_trial_has_its_checkpoint_in_the_bucket_and_ends_its_reports(
    client: ChiefClient, grant: Grant, bucket: LocalBucket, tmp_path: Path
) -> None:
    name, file = names.checkpoint("cifake", grant.trial_id, 1, 0), tmp_path / "model"
    file.write_bytes(b"model")
    with IoThreads() as threads:
        reporter = EpochReporter(bucket, client, grant, threads, lambda epoch: None)
        reporter.upload(Epoch(0, {"val_accuracy": 0.5}, name), file)
        with pytest.raises(StoppedTrialError) as stopped:
            reporter.settle(nothing)
    assert stopped.value.verdict is Verdict.PAUSED
    assert bucket.read(name) == b"model"


def test_the_start_lasts_until_the_first_step_and_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([100.0, 112.5, 113.0])
    monkeypatch.setattr("time.monotonic", lambda: next(times))
    start = StartTime()
    start.step_done()
    start.step_done()
    assert [start.taken_s(), start.taken_s()] == [12.5, None]


def test_a_start_without_steps_is_unknown() -> None:
    start = StartTime()
    assert start.taken_s() is None
    start.step_done()  # of a later epoch
    assert start.taken_s() is None
