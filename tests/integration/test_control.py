"""`run` is paused, interrupted, resumed, extended and stopped by other commands, and reports its end to a webhook."""

import signal
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.integration.in_process import do_here
from tests.integration.support import Done, Place, place, settings, space
from tests.support.webhook import running_webhook
from tuner import names
from tuner.names import TrialId
from tuner.study.records import Outcome, TrialState
from tuner.study.state import StudyState
from tuner.study.trial import Trial

pytestmark = pytest.mark.slow
T0, T1 = TrialId("00000"), TrialId("00001")
EPOCHS = 1000


@dataclass
class Controlled:
    """What happened to a study, in this order."""

    place: Place
    paused: Done
    """The command `pause`, during an epoch."""
    interrupted: Done
    """`run`, after Ctrl-C."""
    between: Trial
    """The first trial while the search is paused and nothing runs."""
    paused_again: str
    """What `run` prints when it is started again."""
    enqueued: Done
    stopped: Done
    ended: Done
    """`run`, after the search was stopped."""
    messages: list[Any]
    """What the webhook got."""

    @property
    def state(self) -> StudyState:
        return self.place.state()


@pytest.fixture(scope="module")
def controlled(tmp_path_factory: pytest.TempPathFactory, two_colours: str) -> Iterator[Controlled]:
    with running_webhook() as hook, place(tmp_path_factory.mktemp("controlled")) as new_place:
        line = (
            *("run", "--data", two_colours, "--workers", "1", *space("GatedGrid")),
            *settings(training__epochs=EPOCHS, data__batch_size=16, evaluation__robustness_images=0),
            *settings(search__early_stopping__policy="none", search__algorithm="random"),
        )
        webhook = {f"{names.ENV_SETTING}NOTIFY__WEBHOOK": hook.url}
        hold = new_place.gate / "hold-1"
        hold.touch()
        first = new_place.start(*line, **webhook)
        new_place.wait_for(lambda state: T0 in state.trials and state.trials[T0].epochs, "an epoch", first)
        paused = do_here(new_place, "pause")
        hold.unlink()
        new_place.wait_for(lambda state: state.trials[T0].state is TrialState.QUEUED, "the trial to return", first)
        first.process.send_signal(signal.SIGINT)
        interrupted, between = first.wait(), new_place.state().trials[T0]
        (new_place.gate / "slow").touch()  # so that no trial is complete before it is stopped
        second = new_place.start(*line, **webhook)
        new_place.wait_for(lambda state: state.term == 2, "another chief", second)
        paused_again = second.printed()
        do_here(new_place, "resume")
        new_place.wait_for(lambda state: state.trials[T0].attempts == 2, "the trial to continue", second)
        enqueued = do_here(new_place, "enqueue", "--set", "units=16")
        do_here(new_place, "stop", "0")
        new_place.wait_for(lambda state: bool(state.ranked(state.trials.values())), "the trial's end", second)
        new_place.wait_for(lambda state: T1 in state.trials and state.trials[T1].epochs, "the next trial", second)
        stopped = do_here(new_place, "stop")
        ended = second.wait()
        yield Controlled(new_place, paused, interrupted, between, paused_again, enqueued, stopped, ended, hook.messages)


def test_a_paused_run_says_how_to_resume_and_its_trial_is_kept_when_it_is_interrupted(controlled: Controlled) -> None:
    assert controlled.paused.code == 0, controlled.paused.err
    how = f"to continue it, run cifake-tune resume --bucket {controlled.place.bucket.url} --study cifake"
    assert "the search is paused" in controlled.interrupted.output
    assert how in controlled.interrupted.output
    assert controlled.interrupted.code == 143
    assert controlled.between.state is TrialState.QUEUED
    assert 1 <= len(controlled.between.epochs) < EPOCHS


def test_the_pause_lasts_when_run_is_started_again(controlled: Controlled) -> None:
    assert "the search is paused; to continue it, run cifake-tune resume" in controlled.paused_again


def test_the_trial_continues_after_its_last_epoch_and_has_lost_no_retry(controlled: Controlled) -> None:
    trial = controlled.state.trials[T0]
    assert controlled.between.epochs.items() <= trial.epochs.items()
    assert trial.outcomes[Outcome.PREEMPTED] == trial.forgiven[Outcome.PREEMPTED] == 1


def test_the_enqueued_configuration_is_the_next_trial(controlled: Controlled) -> None:
    assert controlled.enqueued.code == 0, controlled.enqueued.err
    assert controlled.state.trials[T1].hyperparameters == {"units": 16}


def test_a_stopped_trial_and_a_stopped_search_end_with_their_scores_and_the_evaluation(controlled: Controlled) -> None:
    assert (controlled.stopped.code, controlled.ended.code) == (0, 0), controlled.ended.err
    first, second, *more = controlled.state.trials.values()
    assert [trial.state for trial in (first, second)] == [TrialState.STOPPED] * 2
    assert first.reason == second.reason == "ended by cifake-tune stop"
    assert not more
    page = controlled.place.bucket.read(names.evaluation("cifake", names.REPORT_HTML)).decode()
    assert "The search was ended by cifake-tune stop, before the best trial " in page


def test_the_webhook_gets_one_message_with_the_evaluation_and_no_file_contains_its_url(controlled: Controlled) -> None:
    (message,) = controlled.messages
    assert message["state"] == "finished"
    assert message["reason"].startswith("ended by cifake-tune stop, before the best trial ")
    assert message["best_trial"] == controlled.state.best()[0].trial_id
    assert message["evaluation"]["images"] == 20
    files = [path for path in controlled.place.folder.rglob("*") if path.is_file()]
    assert not [path for path in files if b"very-secret" in path.read_bytes()]
