"""Suggestions go on, after a restart, as if there had been none."""

import random
from functools import cache

import keras_tuner
import pytest
from sklearn.exceptions import ConvergenceWarning

from tuner.config import Algorithm, Study, load
from tuner.suggest import NoSuggestion, Suggester, Suggestion, make_suggester
from tuner.trials import RECORD, Created, Ended, Record, TrialState

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
    return make_suggester(study(algorithm, trials), space(), "max")


def created(suggestion: Suggestion) -> Created:
    record = Created(at=0, trial=suggestion.trial, hyperparameters=suggestion.values, algorithm=suggestion.algorithm)
    loaded = RECORD.validate_json(RECORD.dump_json(record))  # as a journal gives it back
    assert isinstance(loaded, Created)
    return loaded


def ended(trial: str, failed: bool = False) -> Ended:
    state = TrialState.FAILED if failed else TrialState.COMPLETED
    score = None if failed else random.Random(trial).random()
    return Ended(at=0, trial=trial, attempt=1, state=state, score=score, best_epoch=0)


def search(algorithm: Algorithm, restart_after: int | None, workers: int = 3) -> list[dict[str, object]]:
    """Run a whole search with `workers` trials at a time; the chief is made anew after so many suggestions."""
    journal: list[Record] = []
    running: list[str] = []
    values: list[dict[str, object]] = []
    chief = suggester(algorithm)
    order = random.Random(7)
    while len(values) < 60:
        if restart_after is not None and len(values) == restart_after:
            chief, restart_after = suggester(algorithm), None
            chief.apply(journal)
        suggestion = chief.suggest() if len(running) < workers else NoSuggestion.WAIT
        if isinstance(suggestion, Suggestion):
            journal.append(created(suggestion))
            values.append(suggestion.values)
            running.append(suggestion.trial)
            continue
        if not running:
            break
        done = running.pop(order.randrange(len(running)))
        journal.append(ended(done, failed=done == "00004"))
        chief.apply(journal[-1:])
    return values


@cache
def undisturbed(algorithm: Algorithm) -> list[dict[str, object]]:
    return search(algorithm, None)


QUICK = [(algorithm, after) for algorithm in Algorithm for after in (1, 5, 12) if algorithm is not Algorithm.BAYESIAN]


# 12 trials of this space are random before the Gaussian process, which is slow, is asked for the last two
@pytest.mark.parametrize(("algorithm", "restart_after"), [*QUICK, (Algorithm.BAYESIAN, 13)])
def test_a_restarted_chief_suggests_what_the_first_would_have(algorithm: Algorithm, restart_after: int) -> None:
    assert len(undisturbed(algorithm)) > 12
    assert search(algorithm, restart_after) == undisturbed(algorithm)


@pytest.mark.parametrize("algorithm", [Algorithm.RANDOM, Algorithm.BAYESIAN, Algorithm.GRID])
def test_no_more_trials_are_suggested_than_asked_for(algorithm: Algorithm) -> None:
    assert len(undisturbed(algorithm)) == 14


def test_a_grid_tries_every_combination_once() -> None:
    hp = keras_tuner.HyperParameters()
    hp.Int("a", 0, 2)
    hp.Choice("b", ["x", "y"])
    chief = make_suggester(study(Algorithm.GRID, 100), hp, "max")
    seen = []
    while isinstance(suggestion := chief.suggest(), Suggestion):
        chief.apply([created(suggestion), ended(suggestion.trial)])
        seen.append((suggestion.values["a"], suggestion.values["b"]))
    assert suggestion is NoSuggestion.EXHAUSTED
    assert sorted(seen) == [(a, b) for a in (0, 1, 2) for b in ("x", "y")]


def test_hyperband_trains_the_best_of_a_rung_further() -> None:
    values = search(Algorithm.HYPERBAND, None)
    first = [v for v in values if v["tuner/round"] == 0 and v["tuner/bracket"] == 2]
    further = [v for v in values if v["tuner/round"] == 1]
    assert first
    assert further
    assert all(v["tuner/initial_epoch"] > 0 and v["tuner/trial_id"] for v in further)


def test_a_small_space_is_exhausted_before_max_trials() -> None:
    hp = keras_tuner.HyperParameters()
    hp.Choice("a", [1, 2, 3])
    chief = make_suggester(study(Algorithm.RANDOM, 100), hp, "max")
    count = 0
    while isinstance(suggestion := chief.suggest(), Suggestion):
        chief.apply([created(suggestion), ended(suggestion.trial)])
        count += 1
    assert suggestion is NoSuggestion.EXHAUSTED
    assert count == 3
