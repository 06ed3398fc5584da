"""Each end of a study is announced once, with its result, and what is recorded and logged lacks the secret."""

import json
import logging
import threading
import time
from pathlib import Path

import pytest

from tests.support.crew import WITHIN_S
from tests.support.gcs_emulator import free_port
from tests.support.webhook import Webhook, running_webhook
from tuner import names
from tuner.address import Address
from tuner.bucket.local import LocalBucket
from tuner.chief.context import ChiefContext
from tuner.chief.monitor import ChiefMonitor
from tuner.chief.run import run_chief
from tuner.chief.term import open_term
from tuner.config.loading import dump, load
from tuner.config.settings import Study
from tuner.errors import (
    BucketError,
    ConfigError,
    EnvironmentFailure,
    FencedError,
    InternalError,
    NoResultError,
    PreemptedError,
    UsageError,
)
from tuner.monitoring.catalogue import Role
from tuner.monitoring.endpoint import Monitor
from tuner.notification import webhook
from tuner.notification.study_end import announced_end
from tuner.study import journal
from tuner.study.journal import JournalReader, read_study
from tuner.study.records import Created, Ended, Finished, Leased, Opened, Outcome, Record, Reported, TrialState
from tuner.study.state import StudyState

T0 = names.TrialId("00000")
RESULT = {"accuracy": 0.9, "accuracy_interval_95": [0.85, 0.93], "images": 200}


@pytest.fixture
def bucket(tmp_path: Path) -> LocalBucket:
    return LocalBucket(tmp_path / "bucket")


def trained(score: float | None = 0.8) -> list[Record]:
    """Return the records of a trial with this score, or of one that failed."""
    created = Created(at=1, trial=T0, hyperparameters={"units": 3, "tuner/epochs": 2}, algorithm={})
    leased = Leased(at=1, trial=T0, attempt=1, worker="w", incarnation="1")
    if score is None:
        return [created, leased, Ended(at=3, trial=T0, attempt=1, state=TrialState.FAILED, outcome=Outcome.FAILED)]
    return [
        created,
        leased,
        Reported(at=2, trial=T0, attempt=1, epoch=0, metrics={"val_accuracy": score}, checkpoint="m"),
        Ended(at=3, trial=T0, attempt=1, state=TrialState.COMPLETED, score=score, best_epoch=0),
    ]


def ended(bucket: LocalBucket, *records: Record, failed: bool = False, term: int = 1) -> None:
    """Write a term of a search that has ended."""
    opened = Opened(at=0, term=term, writer="w", study=load(), data="0" * 64, direction="max")
    finished = Finished(at=4, reason="all trials have ended", failed=failed)
    bucket.create(names.journal_segment("cifake", term), journal.encode(term, "w", [opened, *records, finished]))


def announce(bucket: LocalBucket, hook: Webhook, error: Exception | None = None, *, evaluates: bool = True) -> None:
    with announced_end(bucket, lambda: read_study(bucket, "cifake"), hook.url, evaluates):
        if error:
            raise error


def test_the_message_has_the_end_the_best_trial_and_the_evaluation(bucket: LocalBucket) -> None:
    ended(bucket, *trained())
    bucket.write(names.evaluation("cifake", names.METRICS_JSON), json.dumps(RESULT).encode())
    with running_webhook() as hook:
        announce(bucket, hook)
    (message,) = hook.messages
    assert message.pop("format")
    assert message["evaluation"].pop("format")
    assert message == {
        "text": "study cifake: finished, best val_accuracy 0.8000 (trial 00000); all trials have ended",
        "study": "cifake",
        "state": "finished",
        "reason": "all trials have ended",
        "bucket": bucket.url,
        "trials": 1,
        "objective": "val_accuracy",
        "best_trial": "00000",
        "best_score": 0.8,
        "best_hyperparameters": {"units": 3},
        "evaluation": {**RESULT, "results": None},
    }


def test_a_sender_that_does_not_evaluate_sends_no_evaluation_of_an_earlier_search(bucket: LocalBucket) -> None:
    ended(bucket, *trained())
    bucket.write(names.evaluation("cifake", names.METRICS_JSON), json.dumps(RESULT).encode())
    with running_webhook() as hook:
        announce(bucket, hook, evaluates=False)
    assert [message["evaluation"] for message in hook.messages] == [None]


@pytest.mark.parametrize(
    ("score", "failed", "error", "state", "reason"),
    [
        (0.8, False, NoResultError("the evaluation failed.\nmore"), "evaluation_failed", "the evaluation failed."),
        (
            0.8,
            False,
            EnvironmentFailure("evaluator: killed by signal 9"),
            "evaluation_failed",
            "evaluator: killed by signal 9",
        ),
        (0.8, False, InternalError("evaluator: a bug"), "evaluation_failed", "evaluator: a bug"),
        (None, False, NoResultError("no trial can be evaluated"), "no_result", "no trial can be evaluated"),
        (None, True, NoResultError("no trial can be evaluated"), "gave_up", "all trials have ended"),
        (None, True, UsageError("every trial would fail"), "gave_up", "all trials have ended"),
    ],
)
def test_an_end_without_a_result_is_announced_with_its_reason_and_the_error_is_raised(
    bucket: LocalBucket, score: float | None, failed: bool, error: Exception, state: str, reason: str
) -> None:
    ended(bucket, *trained(score), failed=failed)
    with running_webhook() as hook, pytest.raises(type(error)):
        announce(bucket, hook, error)
    assert [(message["state"], message["reason"]) for message in hook.messages] == [(state, reason)]


@pytest.mark.parametrize("error", [PreemptedError("stopped"), FencedError("replaced")])
def test_a_process_that_is_stopped_or_replaced_leaves_the_message_to_its_successor(
    bucket: LocalBucket, error: Exception
) -> None:
    ended(bucket, *trained())
    with running_webhook() as hook, pytest.raises(type(error)):
        announce(bucket, hook, error)
    assert not hook.posts


def test_the_error_of_the_evaluation_is_raised_even_if_the_state_cannot_be_read(bucket: LocalBucket) -> None:
    def unreadable() -> StudyState:
        raise BucketError("the bucket is gone")

    with pytest.raises(InternalError, match="a bug"), announced_end(bucket, unreadable, "http://localhost", True):
        raise InternalError("a bug")


def test_an_error_before_the_end_of_the_search_announces_nothing(bucket: LocalBucket) -> None:
    opened = Opened(at=0, term=1, writer="w", study=load(), data="0" * 64, direction="max")
    bucket.create(names.journal_segment("cifake", 1), journal.encode(1, "w", [opened]))
    with running_webhook() as hook, pytest.raises(ConfigError):
        announce(bucket, hook, ConfigError("wrong"))
    assert not hook.posts


def test_an_end_is_announced_once_and_another_term_has_an_end_of_its_own(bucket: LocalBucket) -> None:
    ended(bucket, *trained())
    with running_webhook() as hook:
        announce(bucket, hook)
        announce(bucket, hook)
        assert len(hook.posts) == 1
        with pytest.raises(NoResultError):
            announce(bucket, hook, NoResultError("the evaluation failed"))
        ended(bucket, term=2)
        announce(bucket, hook)
    assert [message["state"] for message in hook.messages] == ["finished", "evaluation_failed", "finished"]


def test_an_end_that_was_not_delivered_is_announced_by_the_next_process_and_only_once(
    bucket: LocalBucket, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    ended(bucket, *trained())
    monkeypatch.setattr(webhook, "WAIT_S", 0.1)
    with running_webhook() as hook:
        with announced_end(bucket, lambda: read_study(bucket, "cifake"), f"http://127.0.0.1:{free_port()}/s", True):
            pass
        assert "not yet delivered to http://127.0.0.1/… after 0.1 s" in caplog.text
        announce(bucket, hook)
        announce(bucket, hook)
    assert [message["state"] for message in hook.messages] == ["finished"]


def test_an_end_that_is_delivered_after_the_wait_is_not_announced_again(
    bucket: LocalBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended(bucket, *trained())
    monkeypatch.setattr(webhook, "WAIT_S", 0.1)
    with running_webhook(is_open=False) as hook:
        announce(bucket, hook)
        assert not list(bucket.list(names.notifications_prefix("cifake"))), "it is not delivered yet"
        hook.gate.set()
        deadline = time.monotonic() + WITHIN_S
        while not list(bucket.list(names.notifications_prefix("cifake"))):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        announce(bucket, hook)
    assert len(hook.posts) == 1


def test_only_one_of_two_processes_announces_an_end(bucket: LocalBucket) -> None:
    ended(bucket, *trained())
    with running_webhook() as hook:
        threads = [threading.Thread(target=announce, args=(bucket, hook)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(hook.posts) == 1


def context(bucket: LocalBucket, study: Study) -> ChiefContext:
    monitor = ChiefMonitor(bucket, study.name, Monitor(Role.CHIEF))
    return ChiefContext(bucket, study, "0" * 64, Address("127.0.0.1", 0), None, None, monitor)


def test_a_chief_that_is_started_again_after_the_end_does_not_repeat_the_message(bucket: LocalBucket) -> None:
    ended(bucket, *trained())
    with running_webhook() as hook:
        study = load(settings=[f"notify.webhook={hook.url}"])
        run_chief(context(bucket, study))
        run_chief(context(bucket, study))
    assert [message["best_trial"] for message in hook.messages] == ["00000"]


def test_without_the_setting_nothing_is_sent_or_noted(bucket: LocalBucket) -> None:
    ended(bucket, *trained())
    run_chief(context(bucket, load()))
    assert not list(bucket.list(names.notifications_prefix("cifake")))


def test_neither_the_journal_nor_the_notes_nor_the_log_contain_the_secret(
    bucket: LocalBucket, caplog: pytest.LogCaptureFixture
) -> None:
    with running_webhook() as hook, caplog.at_level(logging.DEBUG, "tuner"):
        study = load(settings=[f"notify.webhook={hook.url}"])
        open_term(JournalReader(bucket, study.name), context(bucket, study), "max")
        state = read_study(bucket, study.name)
        finished = Finished(at=4, reason="x", failed=True)
        bucket.create(names.journal_segment("cifake", 2), journal.encode(2, "w", [finished]))
        announce(bucket, hook)
    assert hook.posts
    assert state.settings.notify.webhook is None
    written = b"".join(path.read_bytes() for path in Path(bucket.url).rglob("*") if path.is_file())
    assert b"very-secret" not in written
    assert "very-secret" not in caplog.text


def test_a_study_may_be_continued_with_another_webhook(bucket: LocalBucket) -> None:
    first = load(settings=["notify.webhook=https://example.com/1"])
    open_term(JournalReader(bucket, first.name), context(bucket, first), "max")
    other = load(settings=["notify.webhook=https://example.com/2"])
    _, writer = open_term(JournalReader(bucket, other.name), context(bucket, other), "max")
    assert writer is not None


@pytest.mark.parametrize("url", ["very-secret", "ftp://example.com/very-secret", "https:///very-secret", 3])
def test_a_webhook_that_is_no_url_is_refused_without_showing_it(url: str | int) -> None:
    variable = f"{names.ENV_SETTING}NOTIFY__WEBHOOK"
    with pytest.raises(ConfigError, match="must be a URL that begins with https:// or http://") as refused:
        load(environment={variable: str(url)})
    assert str(refused.value).startswith(variable)
    assert "very-secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("setting", "shown"),
    [
        ("notify.webhook=htps:/hooks/very-secret", "--set notify.webhook=…: notify.webhook: must be a URL"),
        ("notify.webhok=https://host/very-secret", "--set notify.webhok=…: unknown key notify.webhok; did you mean"),
        ("notfy.webhook=https://host/very-secret", "unknown key notfy; did you mean notify?"),
        ("notify=https://host/very-secret", "--set notify=…: notify: must be a section with keys, got a secret."),
        ("notify.webhook=[https://host/very-secret", "--set notify.webhook=…"),
        ("notify.webhook https://host/very-secret", "got 'notify.webhook…'"),
        ("notify.webhook:https://host/very-secret?a=1", "unknown key notify.webhook…"),
        ("webhook=https://host/very-secret", "--set webhook=…: unknown key webhook; did you mean notify.webhook?"),
    ],
)
def test_no_error_about_a_misspelt_webhook_shows_its_value(setting: str, shown: str) -> None:
    with pytest.raises(ConfigError) as refused:
        load(settings=[setting])
    assert shown in str(refused.value)
    assert "secret" not in str(refused.value).replace("got a secret", "")


def test_other_settings_show_their_values() -> None:
    with pytest.raises(ConfigError, match=r"--set search\.max_trials=many: .* got \"many\""):
        load(settings=["search.max_trials=many"])


def test_settings_without_secrets_lack_the_webhook_and_nothing_else() -> None:
    study = load(settings=["notify.webhook=https://example.com/1", "search.max_trials=3"])
    assert study.without_secrets() == load(settings=["search.max_trials=3"])
    assert "example.com" in json.dumps(dump(study))
