"""What a user requests while a search runs takes effect at the next epoch, and outlives the chief."""

import pytest

from tests.search.played_search import promoting
from tests.search.test_budgets import HOUR, T0, T1, Night, ends
from tests.search.test_oracle import A, B, at
from tuner.names import TrialId
from tuner.search.claims import AttemptClaim
from tuner.search.leases import Worker
from tuner.search.oracle import Oracle
from tuner.search.suggester import Suggestion
from tuner.study.budgets import budget_uses
from tuner.study.progress import end_of_search, why_no_result
from tuner.study.records import Action, Controlled, Ended, Finished, Outcome, Record, TrialState, Withdrawn

EPOCHS = "training.epochs=5"


def requested(action: Action, *trials: str, seconds: float = 0, number: int = 0) -> Controlled:
    return Controlled(at=at(seconds).at, request=f"{number}", action=action, trials=trials)


def request(night: Night, action: Action, *trials: str, seconds: float = 0) -> list[Record]:
    records = night.chief.control(requested(action, *trials, seconds=seconds), at(seconds))
    return night.keep(records + night.chief.finish(at(seconds)))


def started(*settings: str, trials: int = 2) -> tuple[Night, AttemptClaim]:
    """Return a study whose first trial has trained an epoch on worker A."""
    night = Night(EPOCHS, *settings)
    for number in range(trials):
        night.add(number)
    attempt = night.take(A, 0)
    night.epoch(attempt, 0, 0.5, 10)
    return night, attempt


def test_while_paused_no_trial_is_leased_and_a_running_one_is_handed_back_at_its_next_epoch() -> None:
    night, first = started()
    request(night, Action.PAUSE, seconds=20)
    assert night.chief.grant(B, at(21)) == (None, [])
    assert night.state.trials[T0].state is TrialState.RUNNING
    night.epoch(first, 1, 0.6, 30)
    assert night.state.trials[T0].state is TrialState.QUEUED
    assert night.chief.grant(A, at(31)) == (None, [])
    assert not night.chief.wants_suggestion


def test_after_the_pause_the_trial_continues_after_its_last_epoch_before_all_others() -> None:
    night, first = started()
    request(night, Action.PAUSE)
    night.epoch(first, 1, 0.6, 30)
    request(night, Action.RESUME, seconds=40)
    again = night.take(B, 41)
    assert (again.trial, again.number) == (T0, 2)
    assert night.state.trials[T0].last_epoch == 1


def test_a_pause_costs_a_trial_none_of_its_retries() -> None:
    night = Night("training.epochs=50", "retries.preemption=10")
    night.add(0)
    for epoch in range(20):
        attempt = night.take(A, epoch)
        request(night, Action.PAUSE)
        night.epoch(attempt, epoch, 0.5, epoch)
        request(night, Action.RESUME)
    night.take(A, 30)
    night.restart(monotonic=0)
    trial = night.state.trials[T0]
    assert trial.attempts == 21
    assert trial.outcomes[Outcome.PREEMPTED] == trial.forgiven[Outcome.PREEMPTED] == 20


def test_the_worker_of_a_trial_that_was_handed_back_is_not_told_that_another_replaced_it() -> None:
    night, first = started()
    request(night, Action.PAUSE)
    night.epoch(first, 1, 0.6, 30)
    assert night.chief.beat(first, at(31))
    assert night.chief.report(first, 1, {"val_accuracy": 0.6}, f"{T0}-1.keras", at(32)) == []
    assert night.chief.complete(first, at(33)) == []
    assert night.state.trials[T0].state is TrialState.QUEUED


def test_a_trial_in_its_last_epoch_is_completed_in_spite_of_a_pause() -> None:
    night, first = started()
    request(night, Action.PAUSE)
    night.state.trials[T0].hyperparameters["tuner/epochs"] = 2
    night.epoch(first, 1, 0.6, 30)
    night.keep(night.chief.complete(first, at(31)))
    assert night.state.trials[T0].state is TrialState.COMPLETED


@pytest.mark.parametrize(("worker", "model"), [(Worker("stock"), "0.keras"), (A, None)])
def test_a_trial_that_could_not_resume_is_trained_to_the_end(worker: Worker, model: str | None) -> None:
    night = Night(EPOCHS)
    night.add(0)
    attempt = night.take(worker, 0)
    request(night, Action.PAUSE)
    night.chief.report(attempt, 0, {"val_accuracy": 0.5}, model, at(10))
    assert night.state.trials[T0].state is TrialState.RUNNING


def test_a_pause_outlives_the_chief_and_so_does_its_end() -> None:
    night, first = started()
    request(night, Action.PAUSE, seconds=20)
    night.epoch(first, 1, 0.6, 30)
    night.restart()
    assert night.state.control.paused_since == at(20).at
    assert night.chief.grant(A, at(1)) == (None, [])
    request(night, Action.RESUME, seconds=5)
    night.restart()
    assert not night.state.control.is_paused
    night.take(A, 1)


def test_a_pause_does_not_use_up_the_hours_of_a_search_but_the_end_of_an_epoch_uses_worker_hours() -> None:
    night, first = started("search.max_hours=2", "search.max_worker_hours=9", trials=1)
    request(night, Action.PAUSE, seconds=HOUR)
    night.epoch(first, 1, 0.6, 2 * HOUR)
    night.tick(5 * HOUR)
    request(night, Action.RESUME, seconds=9 * HOUR)
    night.take(A, 9 * HOUR)
    hours, worker_hours = budget_uses(night.state)
    assert hours.used == pytest.approx(1)
    assert worker_hours.used == pytest.approx(2)
    assert not list(ends(night.tick(9.9 * HOUR)))
    assert list(ends(night.tick(10 * HOUR)))


def test_no_worker_is_dismissed_while_the_search_is_paused() -> None:
    night, _ = started("search.max_trials=1", trials=1)
    assert night.chief.needed_workers == 1
    request(night, Action.PAUSE)
    assert night.chief.needed_workers is None
    request(night, Action.RESUME)
    assert night.chief.needed_workers == 1


def test_a_running_trial_that_is_stopped_ends_with_its_score_after_its_epoch_and_the_others_continue() -> None:
    night, first = started()
    second = night.take(B, 11)
    request(night, Action.STOP, T0, seconds=12)
    night.epoch(second, 0, 0.4, 20)
    (end,) = ends(night.epoch(first, 1, 0.3, 20))
    assert isinstance(end, Ended)
    assert (end.trial, end.state, end.score, end.best_epoch) == (T0, TrialState.STOPPED, 0.5, 0)
    assert (end.reason, end.budget) == ("ended by cifake-tune stop", "stop")
    assert night.state.trials[T1].state is TrialState.RUNNING
    assert night.state.finished is None


def test_a_trial_that_is_stopped_in_a_long_epoch_is_cut_after_the_time_of_grace() -> None:
    night, first = started("search.grace_minutes=5")
    request(night, Action.STOP, T0, seconds=20)
    night.tick(319)
    assert night.state.trials[T0].state is TrialState.RUNNING
    night.tick(320)
    assert night.state.trials[T0].state is TrialState.STOPPED
    assert not night.chief.beat(first, at(321))


def test_a_trial_without_a_score_is_stopped_after_its_first_epoch_however_long_that_takes() -> None:
    night = Night(EPOCHS, "search.grace_minutes=0")
    night.add(0)
    attempt = night.take(A, 0)
    request(night, Action.STOP, T0)
    night.tick(HOUR)
    assert night.state.trials[T0].state is TrialState.RUNNING
    night.epoch(attempt, 0, 0.5, HOUR)
    assert night.state.trials[T0].state is TrialState.STOPPED


def test_a_stopped_trial_whose_worker_is_lost_ends_and_is_not_queued_again() -> None:
    night, _ = started()
    request(night, Action.STOP, T0)
    night.restart()
    night.keep(night.chief.join(Worker("a", "2"), at(1)))
    assert night.state.trials[T0].state is TrialState.STOPPED
    assert night.state.trials[T0].score == 0.5


def test_an_interrupted_trial_that_is_stopped_ends_at_once() -> None:
    night, first = started()
    night.keep(night.chief.give_back(first, Outcome.PREEMPTED, "", at(20)))
    (end,) = ends(request(night, Action.STOP, T0, seconds=21))
    assert isinstance(end, Withdrawn)
    assert (end.score, night.state.trials[T0].state) == (0.5, TrialState.STOPPED)
    assert night.take(A, 22).trial == T1


def test_a_trial_that_waits_for_its_promotion_ends_at_once() -> None:
    chief: Oracle = promoting()
    for number in range(3):
        chief.add(Suggestion(TrialId(f"{number:05d}"), {"units": number}, {}), at(0))
    trial, _ = chief.grant(A, at(0))
    assert trial is not None
    chief.report(AttemptClaim(A, T0, 1), 0, {"val_accuracy": 0.5}, "0.keras", at(1))
    assert trial.state is TrialState.PAUSED
    chief.control(requested(Action.STOP, T0), at(2))
    assert trial.state is TrialState.STOPPED
    assert trial.score == 0.5


def test_when_the_search_is_stopped_running_trials_end_after_their_epoch_and_the_search_is_over() -> None:
    night, first = started()
    assert not list(ends(request(night, Action.STOP, seconds=20)))
    assert night.chief.grant(B, at(21)) == (None, [])
    *_, finished = night.epoch(first, 1, 0.6, 30)
    assert isinstance(finished, Finished)
    assert (finished.reason, finished.failed) == ("ended by cifake-tune stop", False)
    assert night.state.best()[0].trial_id == T0


def test_the_end_of_a_stopped_search_says_that_its_best_trial_was_not_complete() -> None:
    night, first = started()
    request(night, Action.STOP)
    night.epoch(first, 1, 0.6, 30)
    assert end_of_search(night.state) == (
        "ended by cifake-tune stop, before the best trial 00000 was complete (2 of 5 epochs)"
    )


def test_a_search_that_is_stopped_before_any_score_says_how_to_continue() -> None:
    night = Night(EPOCHS)
    night.add(0)
    request(night, Action.STOP)
    assert night.state.finished
    assert "was ended by cifake-tune stop before any trial had both a score" in why_no_result(night.state)


def test_a_trial_without_a_score_that_is_stopped_still_has_a_maximum_of_minutes() -> None:
    night = Night(EPOCHS, "training.max_minutes=1", "search.grace_minutes=0")
    night.add(0)
    night.take(A, 0)
    request(night, Action.STOP, T0)
    night.tick(61)
    assert night.state.trials[T0].state is TrialState.FAILED


def test_a_stop_outlives_the_chief_and_a_larger_number_of_trials_continues_the_search() -> None:
    night, first = started("search.max_trials=2")
    request(night, Action.STOP)
    night.restart()
    night.epoch(first, 1, 0.6, 30)
    assert night.state.finished
    assert night.state.is_over(night.state.settings)
    more = night._opened(9).study.model_copy(
        update={"search": night.state.settings.search.model_copy(update={"max_trials": 3})}
    )
    assert not night.state.is_over(more)
    night.restart("search.max_trials=3")
    assert night.state.ending is None
    assert night.take(A, 1).trial == T1


def test_a_paused_search_can_be_stopped() -> None:
    night, first = started()
    request(night, Action.PAUSE)
    night.epoch(first, 1, 0.6, 30)
    request(night, Action.STOP, seconds=40)
    assert night.state.finished
    assert night.state.trials[T0].state is TrialState.STOPPED


def test_a_search_that_ended_while_it_was_paused_is_not_paused_when_it_is_started_again() -> None:
    night, first = started("search.max_trials=2")
    request(night, Action.PAUSE)
    night.epoch(first, 1, 0.6, 30)
    request(night, Action.STOP, seconds=40)
    night.restart("search.max_trials=3")
    assert night.take(A, 1).trial == T1


def test_a_refused_request_changes_nothing_but_is_not_handled_again() -> None:
    night, _ = started()
    refused = requested(Action.STOP).model_copy(update={"refusal": "no"})
    night.keep(night.chief.control(refused, at(20)))
    assert night.state.ending is None
    assert night.state.control.handled == ("0",)
