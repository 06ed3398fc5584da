"""Suggestions go on, after a restart, as if there had been none."""

import random
from functools import cache
from typing import Any

import keras_tuner
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from threadpoolctl import threadpool_info, threadpool_limits

from tuner import names
from tuner.config.loading import load
from tuner.config.settings import Algorithm, Study
from tuner.errors import SpaceError
from tuner.search.suggester import NoSuggestion, Suggester, Suggestion, make_suggester
from tuner.study import snapshots
from tuner.study.ending import STOP
from tuner.study.objective import Objective
from tuner.study.records import (
    RECORD,
    Action,
    Controlled,
    Created,
    Ended,
    Leased,
    Opened,
    Record,
    Retried,
    TrialState,
    Value,
)
from tuner.study.state import StudyState

pytestmark = pytest.mark.filterwarnings(f"ignore::{ConvergenceWarning.__module__}.ConvergenceWarning")


def space() -> keras_tuner.HyperParameters:
    hp = keras_tuner.HyperParameters()
    hp.Int("filters", 20, 100, step=20)
    hp.Choice("activation", ["relu", "tanh"])
    hp.Choice("learning_rate", [1e-3, 5e-4, 1e-4])
    with hp.conditional_scope("activation", ["tanh"]):
        hp.Float("gain", 0.5, 2.0)
    return hp


def study(algorithm: Algorithm, trials: int = 14) -> Study:
    return load(settings=[f"search.algorithm={algorithm}", f"search.max_trials={trials}", "training.epochs=9"])


def suggester(algorithm: Algorithm, trials: int = 14) -> Suggester:
    return make_suggester(study(algorithm, trials), space(), Objective("val_accuracy"))


def created(suggestion: Suggestion) -> Created:
    return Created(at=0, trial=suggestion.trial, hyperparameters=suggestion.values, algorithm=suggestion.algorithm)


def ended(trial: names.TrialId, failed: bool = False) -> Ended:
    state = TrialState.FAILED if failed else TrialState.COMPLETED
    score = None if failed else random.Random(trial).random()
    return Ended(at=0, trial=trial, attempt=1, state=state, score=score, best_epoch=0)


def end(chief: Suggester, trial: names.TrialId, failed: bool = False) -> Ended:
    record = ended(trial, failed)
    chief.ended(trial, record.state, record.score, record.best_epoch)
    return record


def recovered(journal: list[Record], snapshot_after: int) -> StudyState:
    """Return the state as a chief finds it: a snapshot, and the records after it, all from their bytes."""
    state = StudyState()
    for number, record in enumerate(journal):
        state.apply(RECORD.validate_json(RECORD.dump_json(record, by_alias=True)))
        if number == snapshot_after:
            kept = snapshots.decode(names.snapshot("s", 1), snapshots.encode(1, state))
            assert kept is not None
            assert kept.state == state
            state = kept.state
    return state


def search(
    algorithm: Algorithm, restart_after: int | None, workers: int = 3, snapshot_after: int = 10
) -> list[dict[str, Any]]:
    """Run a whole search with `workers` trials at a time; the chief is made anew after so many suggestions."""
    journal: list[Record] = [
        Opened(at=0, term=1, writer="w", study=study(algorithm), data="d", direction="max"),
    ]
    running: list[names.TrialId] = []
    values: list[dict[str, Any]] = []
    chief = suggester(algorithm)
    order = random.Random(7)
    while len(values) < 60:
        if restart_after is not None and len(values) == restart_after:
            chief, restart_after = suggester(algorithm), None
            chief.restore(recovered(journal, snapshot_after))
        suggestion = chief.suggest() if len(running) < workers else NoSuggestion.WAIT
        if isinstance(suggestion, Suggestion):
            trial = suggestion.trial
            journal += [created(suggestion), Leased(at=0, trial=trial, attempt=1, worker="w", incarnation="i")]
            values.append(suggestion.values)
            running.append(trial)
            continue
        if not running:
            break
        done = running.pop(order.randrange(len(running)))
        journal.append(end(chief, done, failed=done == "00004"))
    return values


@cache
def undisturbed(algorithm: Algorithm) -> list[dict[str, object]]:
    return search(algorithm, None)


@pytest.mark.parametrize("algorithm", [Algorithm.RANDOM, Algorithm.TPE, Algorithm.GRID])
def test_repetitions_change_no_suggestion_but_its_id(algorithm: Algorithm) -> None:
    whole, chief = suggester(algorithm), suggester(algorithm)
    expected: list[Suggestion | NoSuggestion] = []
    for _ in range(5):
        expected.append(whole.suggest())
        if algorithm is Algorithm.GRID:  # it waits for the ends of trials
            end(whole, names.TrialId(f"{len(expected) - 1:05d}"))
    journal: list[Record] = [Opened(at=0, term=1, writer="w", study=study(algorithm), data="d", direction="max")]
    for number in range(3):
        suggestion = chief.suggest()
        assert isinstance(suggestion, Suggestion)
        journal.append(created(suggestion))
        lease = {"at": 0, "worker": "w", "incarnation": "i", "attempt": 1}
        if algorithm is Algorithm.GRID:
            journal += [Leased(trial=suggestion.trial, **lease), end(chief, suggestion.trial)]
        if number == 0:
            repetition = names.TrialId("00003")
            repeated = created(suggestion).model_copy(update={"trial": repetition, "repeats": suggestion.trial})
            ends: list[Record] = [Leased(trial=repetition, **lease), ended(repetition)]
    chief = suggester(algorithm)
    chief.restore(recovered([*journal, repeated, *ends], 2))
    for number in (3, 4):
        suggestion, wanted = chief.suggest(), expected[number]
        assert isinstance(suggestion, Suggestion)
        assert isinstance(wanted, Suggestion)
        if algorithm is Algorithm.GRID:
            end(chief, suggestion.trial)
        assert suggestion.trial == f"{number + 1:05d}"
        assert suggestion.values == wanted.values


QUICK = [(algorithm, after) for algorithm in Algorithm for after in (1, 5, 12) if algorithm is not Algorithm.BAYESIAN]


# 4 trials are random before the models are used; the Gaussian process is slow
@pytest.mark.parametrize(("algorithm", "restart_after"), [*QUICK, (Algorithm.BAYESIAN, 13)])
def test_a_restarted_chief_suggests_what_the_first_would_have(algorithm: Algorithm, restart_after: int) -> None:
    assert len(undisturbed(algorithm)) > 12
    assert search(algorithm, restart_after) == undisturbed(algorithm)


@pytest.mark.parametrize("algorithm", [each for each in Algorithm if each is not Algorithm.HYPERBAND])
def test_no_more_trials_are_suggested_than_asked_for(algorithm: Algorithm) -> None:
    assert len(undisturbed(algorithm)) == 14


def test_a_grid_tries_every_combination_once() -> None:
    hp = keras_tuner.HyperParameters()
    hp.Int("a", 0, 2)
    hp.Choice("b", ["x", "y"])
    chief = make_suggester(study(Algorithm.GRID, 100), hp, Objective("val_accuracy"))
    combinations = []
    while isinstance(suggestion := chief.suggest(), Suggestion):
        end(chief, suggestion.trial)
        combinations.append((suggestion.values["a"], suggestion.values["b"]))
    assert suggestion is NoSuggestion.EXHAUSTED
    assert sorted(combinations) == [(a, b) for a in (0, 1, 2) for b in ("x", "y")]


def test_hyperband_trains_the_best_of_a_rung_further() -> None:
    values = search(Algorithm.HYPERBAND, None)
    first = [v for v in values if v["tuner/round"] == 0 and v["tuner/bracket"] == 2]
    further = [v for v in values if v["tuner/round"] == 1]
    assert first
    assert further
    assert all(v["tuner/initial_epoch"] > 0 and v["tuner/trial_id"] for v in further)


def hyperband() -> Suggester:
    """Return Hyperband with one iteration of three brackets."""
    return suggester(Algorithm.HYPERBAND)


def test_hyperband_accepts_configurations_until_its_last_first_round_is_full() -> None:
    chief = hyperband()
    places = sum(chief._oracle._get_size(bracket, 0) for bracket in range(3))
    values: dict[str, Value] = {"filters": 100, "activation": "tanh", "gain": 0.5001}
    while places:
        chief.completed(values)
        suggestion = chief.suggest()
        assert isinstance(suggestion, Suggestion)
        end(chief, suggestion.trial)
        places -= suggestion.values["tuner/round"] == 0
    with pytest.raises(SpaceError, match="no free place left"):
        chief.completed(values)


def test_hyperband_refuses_what_enqueued_configurations_have_the_last_places_for() -> None:
    chief = hyperband()
    places = sum(chief._oracle._get_size(bracket, 0) for bracket in range(3))
    for number in range(places):
        chief.enqueue(chief.completed({"activation": "tanh", "gain": 0.6 + number / 1000}))
    with pytest.raises(SpaceError, match="no free place left"):
        chief.completed({"activation": "tanh", "gain": 1.9})
    for _ in range(places):
        suggestion = chief.suggest()
        while not (isinstance(suggestion, Suggestion) and suggestion.values["tuner/round"] == 0):
            assert isinstance(suggestion, Suggestion)
            end(chief, suggestion.trial)
            suggestion = chief.suggest()
        assert str(suggestion.values["gain"]).startswith("0.6"), "every enqueued configuration is tried"
        end(chief, suggestion.trial)


@pytest.mark.parametrize("restarts", [False, True])
def test_hyperband_continues_a_trial_that_a_user_has_stopped_after_all_others(restarts: bool) -> None:
    chief = hyperband()
    opened = Opened(at=0, term=1, writer="w", study=study(Algorithm.HYPERBAND), data="d", direction="max")
    journal: list[Record] = [opened]
    size = chief._oracle._get_size(2, 0)
    trials = [suggestion for _ in range(size) if isinstance(suggestion := chief.suggest(), Suggestion)]
    for number, suggestion in enumerate(trials):
        trial, is_best = suggestion.trial, number == 0
        state, budget = (TrialState.STOPPED, STOP) if is_best else (TrialState.COMPLETED, "")
        score = 0.9 if is_best else 0.1 + number / 100
        journal += [created(suggestion), Leased(at=0, trial=trial, attempt=1, worker="w", incarnation="1")]
        if is_best:
            journal.append(Controlled(at=0, request="r", action=Action.STOP, trials=(trial,)))
        journal.append(
            Ended(at=0, trial=trial, attempt=1, state=state, score=score, best_epoch=0, reason="x", budget=budget)
        )
        chief.ended(trial, state, score, 0, is_best)
    if restarts:
        chief = hyperband()
        chief.restore(recovered(journal, 3))
    following = [suggestion for _ in range(2) if isinstance(suggestion := chief.suggest(), Suggestion)]
    assert [each.values["tuner/round"] for each in following] == [1, 1]
    assert [each.values["tuner/trial_id"] for each in following] == [t.trial for t in trials[-1:-3:-1]]


def test_a_small_space_is_exhausted_before_max_trials() -> None:
    hp = keras_tuner.HyperParameters()
    hp.Choice("a", [1, 2, 3])
    chief = make_suggester(study(Algorithm.RANDOM, 100), hp, Objective("val_accuracy"))
    count = 0
    while isinstance(suggestion := chief.suggest(), Suggestion):
        end(chief, suggestion.trial)
        count += 1
    assert suggestion is NoSuggestion.EXHAUSTED
    assert count == 3


def test_a_gaussian_process_is_fitted_in_one_thread_whatever_the_machine_has(monkeypatch: pytest.MonkeyPatch) -> None:
    chief = suggester(Algorithm.BAYESIAN)
    for _ in range(4):
        suggestion = chief.suggest()
        assert isinstance(suggestion, Suggestion)
        end(chief, suggestion.trial)
    threads: set[int] = set()
    fit = GaussianProcessRegressor.fit

    def watched(self: Any, x: Any, y: Any) -> Any:
        threads.update(lib["num_threads"] for lib in threadpool_info() if lib["user_api"] == "blas")
        return fit(self, x, y)

    monkeypatch.setattr(GaussianProcessRegressor, "fit", watched)
    with threadpool_limits(2, "blas"):
        assert isinstance(chief.suggest(), Suggestion)
    assert threads == {1}


@pytest.mark.parametrize("algorithm", [each for each in Algorithm if each is not Algorithm.BAYESIAN])
def test_a_retried_trial_is_failed_until_it_has_ended_again_also_for_a_restarted_chief(algorithm: Algorithm) -> None:
    opened = Opened(at=0, term=1, writer="w", study=study(algorithm), data="d", direction="max")
    journal: list[Record] = [opened]
    chief = suggester(algorithm)
    trials: list[names.TrialId] = []
    running: list[names.TrialId] = []
    while len(trials) < 3 or running[1:]:  # all but the last trial end, and the first of them fails
        suggestion = chief.suggest() if len(trials) < 3 else NoSuggestion.WAIT
        if not isinstance(suggestion, Suggestion):
            done = running.pop(0)
            journal.append(end(chief, done, failed=done == trials[0]))
            continue
        trials.append(suggestion.trial)
        running.append(suggestion.trial)
        journal += [created(suggestion), Leased(at=0, trial=suggestion.trial, attempt=1, worker="w", incarnation="i")]
    journal += [opened.model_copy(update={"term": 2}), Retried(at=0, trials=(trials[0],))]
    chief = suggester(algorithm)
    chief.restore(recovered(journal, 3))
    assert chief._oracle.trials[trials[0]].status == "FAILED"
    again = Ended(at=1, trial=trials[0], attempt=2, state=TrialState.COMPLETED, score=0.9, best_epoch=0)
    journal += [Leased(at=1, trial=trials[0], attempt=2, worker="w", incarnation="i"), again]
    chief.ended(again.trial, again.state, again.score, again.best_epoch)
    restarted = suggester(algorithm)
    restarted.restore(recovered(journal, 3))
    for each in (chief, restarted):
        assert (each._oracle.trials[trials[0]].status, each._oracle.trials[trials[0]].score) == ("COMPLETED", 0.9)
        assert each._oracle.end_order == trials[:2]
        end(each, trials[2])
    assert [chief.suggest() for _ in range(3)] == [restarted.suggest() for _ in range(3)]
