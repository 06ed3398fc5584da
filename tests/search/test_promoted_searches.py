"""How whole searches with promotion end: which trials are completed, and what becomes of the paused ones."""

import pytest

from tests.search.played_search import Search, promoting
from tests.search.test_early_stopping import epochs
from tests.search.test_oracle import A, add, at, take
from tests.search.test_promotion import paused_at_first_rung, state_of
from tuner.config.loading import load
from tuner.errors import ConfigError
from tuner.search.leases import Worker
from tuner.study.records import Ended, Finished, Outcome, Paused, TrialState


def test_a_chief_restarted_at_every_step_decides_as_one_that_never_was() -> None:
    settings = "search.early_stopping.reduction_factor=2"
    searches = [Search(promoting(settings, epochs=8, trials=60), trials=60, workers=3, seed=3) for _ in range(2)]
    states = [search.play(restarts) for search, restarts in zip(searches, (False, True), strict=True)]
    assert searches[0].records == searches[1].records
    assert states[0] == states[1]
    kinds = {record.kind for record in searches[0].records}
    assert kinds == {"created", "leased", "reported", "paused", "ended", "finished"}
    assert max(trial.attempts for trial in states[0].trials.values()) > 2


@pytest.mark.parametrize("workers", [1, 2, 5])
@pytest.mark.parametrize("finalists", [1, 3])
@pytest.mark.parametrize("seed", range(4))
def test_the_best_finalists_are_trained_to_their_end_and_the_others_are_stopped(
    workers: int, finalists: int, seed: int
) -> None:
    chief = promoting(f"search.finalists={finalists}", epochs=10, trials=20)
    state = Search(chief, 20, workers, seed).play()
    assert {trial.state for trial in state.trials.values()} <= {TrialState.COMPLETED, TrialState.STOPPED}
    ranked = state.ranked(state.trials.values())
    assert len(ranked) == 20
    assert {trial.state for trial in ranked[:finalists]} == {TrialState.COMPLETED}
    assert state.finished is not None
    assert not state.finished.failed


def test_more_finalists_are_more_completed_trials() -> None:
    completed = []
    for finalists in (1, 8):
        state = Search(promoting(f"search.finalists={finalists}", epochs=10, trials=20), 20).play()
        completed.append(sum(trial.state is TrialState.COMPLETED for trial in state.trials.values()))
    assert completed[0] < completed[1]


def test_a_search_with_promotion_trains_a_fraction_of_all_epochs() -> None:
    state = Search(promoting(epochs=27, trials=60), 60, workers=2).play()
    assert sum(len(trial.epochs) for trial in state.trials.values()) < 0.2 * 60 * 27


def test_fewer_suggestions_than_trials_end_the_search_as_well() -> None:
    state = Search(promoting(epochs=10, trials=100), trials=7).play()
    assert len(state.trials) == 7
    assert sum(trial.state is TrialState.COMPLETED for trial in state.trials.values()) >= 1


def test_a_search_does_not_wait_for_a_trial_that_cannot_be_the_best() -> None:
    """With one worker per trial, all are trained as long as the best one is, and no longer."""
    chief = promoting(epochs=10, trials=4)
    for number in range(4):
        add(chief, number)
    attempts = [take(chief, Worker(f"w{number}", "1")) for number in range(4)]
    chief.exhausted = True
    for number, attempt in enumerate(attempts):
        epochs(chief, attempt, *[0.5 - number / 10] * 4)
    assert {trial.state for trial in chief.state.trials.values()} == {TrialState.RUNNING}, "there is nothing else to do"
    epochs(chief, attempts[0], *[0.5] * 6, first=4)
    chief.complete(attempts[0], at(10))
    for attempt in attempts[1:]:
        epochs(chief, attempt, 0.3, first=4)
    assert [state_of(chief, number) for number in (1, 2, 3)] == [TrialState.PAUSED] * 3
    *ends, end = chief.finish(at(20))
    assert isinstance(end, Finished)
    assert [record.state for record in ends if isinstance(record, Ended)] == [TrialState.STOPPED] * 3


def test_a_paused_trial_that_ends_with_the_search_keeps_score_model_and_reason() -> None:
    search = Search(promoting(epochs=10, trials=9), trials=9)
    state = search.play()
    paused = {record.trial: record for record in search.records if isinstance(record, Paused)}
    stopped = [trial for trial in state.trials.values() if trial.state is TrialState.STOPPED]
    assert len(stopped) > 4
    for trial in stopped:
        record = paused[trial.trial_id]
        assert (trial.score, trial.best_epoch) == (record.score, record.best_epoch)
        assert trial.checkpoint
        assert trial.ended_waiting
        assert trial.reason.startswith("rung ")


def test_a_search_that_gives_up_leaves_its_paused_trials_paused() -> None:
    chief = promoting("retries.failure=0", "search.max_consecutive_failures=2")
    paused_at_first_rung(chief, 0.5)
    for number in (1, 2):
        add(chief, number)
        chief.give_back(take(chief, A), Outcome.FAILED, "bang", at(1))
    *_, end = chief.finish(at(2))
    assert isinstance(end, Finished)
    assert end.failed
    assert state_of(chief, 0) is TrialState.PAUSED


# ---- settings -----------------------------------------------------------------------------------
def test_stopping_is_another_name_of_the_policy_asha() -> None:
    new, old = (load(settings=[f"search.early_stopping.policy={name}"]) for name in ("stopping", "asha"))
    assert new == old == load()


@pytest.mark.parametrize(
    ("policy", "named"), [("promotion", "promotion"), ("stopping", "stopping"), ("asha", "stopping")]
)
def test_hyperband_keeps_its_own_rungs(policy: str, named: str) -> None:
    with pytest.raises(ConfigError, match=f"policy {named} cannot be combined with algorithm hyperband"):
        load(settings=["search.algorithm=hyperband", f"search.early_stopping.policy={policy}"])
