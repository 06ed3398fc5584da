"""Optuna's TPE suggests values of the space, and better ones than random search does."""

import random
import statistics
import subprocess
import sys
import time
import warnings
from typing import Any

import keras_tuner
import pytest

from tuner.config.loading import load
from tuner.names import TrialId
from tuner.search.suggester import NoSuggestion, Observation, Suggester, Suggestion, make_suggester
from tuner.study.objective import Objective
from tuner.study.records import LearnedTrial, TrialState
from tuner.study.state import StudyState


def space() -> keras_tuner.HyperParameters:
    hp = keras_tuner.HyperParameters()
    hp.Int("width", 16, 256, step=16)
    hp.Int("units", 8, 512, step=2, sampling="log")
    hp.Int("kernel", 1, 1000, sampling="log")
    hp.Float("learning_rate", 1e-5, 1e-1, sampling="log")
    hp.Float("decay", 0.1, 0.9, sampling="reverse_log")
    hp.Float("dropout", 0.0, 0.6, step=0.1)
    hp.Choice("optimizer", ["sgd", "adam", "lion"])
    hp.Choice("depth", [2, 4, 8, 16])
    hp.Boolean("norm")
    hp.Fixed("classes", 2)
    with hp.conditional_scope("optimizer", ["sgd"]):
        hp.Float("momentum", 0.0, 0.99)
    with hp.conditional_scope("optimizer", ["lion"]):
        hp.Float("beta", 0.5, 0.9, step=0.1)
    return hp


def tpe(hp: keras_tuner.HyperParameters, *settings: str) -> Suggester:
    study = load(settings=["search.algorithm=tpe", "search.max_trials=2000", "search.initial_points=5", *settings])
    return make_suggester(study, hp, Objective("val_accuracy"))


def suggested(chief: Suggester) -> Suggestion:
    suggestion = chief.suggest()
    assert isinstance(suggestion, Suggestion)
    return suggestion


def end(chief: Suggester, trial: TrialId, score: float | None) -> None:
    chief.ended(trial, TrialState.FAILED if score is None else TrialState.COMPLETED, score, 0)


def test_suggestions_are_values_of_the_space_with_their_types_and_conditions() -> None:
    chief = tpe(space())
    seen: dict[str, set[Any]] = {}
    for number in range(60):
        suggestion = suggested(chief)
        for name, value in suggestion.values.items():
            seen.setdefault(name, set()).add(value)
        assert ("momentum" in suggestion.values) == (suggestion.values["optimizer"] == "sgd")
        assert ("beta" in suggestion.values) == (suggestion.values["optimizer"] == "lion")
        end(chief, suggestion.trial, None if number % 7 == 0 else random.Random(number).random())
    assert seen["width"] <= set(range(16, 257, 16))
    assert seen["units"] <= {8, 16, 32, 64, 128, 256, 512}
    assert all(isinstance(value, int) and 1 <= value <= 1000 for value in seen["kernel"])
    assert all(1e-5 <= value <= 1e-1 for value in seen["learning_rate"])
    assert all(0.1 <= value <= 0.9 for value in seen["decay"])
    steps = [0.1 * step for step in range(7)]
    assert all(min(abs(value - step) for step in steps) < 1e-9 for value in seen["dropout"])
    assert seen["depth"] <= {2, 4, 8, 16}
    assert seen["norm"] <= {True, False}
    assert seen["classes"] == {2}
    assert len(seen["learning_rate"]) > 50


def score(values: dict[str, Any]) -> float:
    """Return 1 at best, with a width of 160 and a learning rate of 0.01."""
    from math import log10

    return 1 - abs(values["width"] - 160) / 240 - abs(log10(values["learning_rate"]) + 2) / 4


def mean_of_the_last(algorithm: str, seed: int) -> float:
    hp = keras_tuner.HyperParameters()
    hp.Int("width", 16, 256, step=16)
    hp.Float("learning_rate", 1e-5, 1e-1, sampling="log")
    chief = tpe(hp, f"search.algorithm={algorithm}", f"seed={seed}")
    scores = []
    for _ in range(40):
        suggestion = suggested(chief)
        scores.append(score(suggestion.values))
        end(chief, suggestion.trial, scores[-1])
    return statistics.mean(scores[-15:])


def test_it_learns_from_the_scores() -> None:
    for seed in (1, 2, 3):
        assert mean_of_the_last("tpe", seed) > mean_of_the_last("random", seed) + 0.15


def test_it_avoids_what_failed() -> None:
    broken = 0
    for seed in (1, 2, 3):
        hp = keras_tuner.HyperParameters()
        hp.Choice("optimizer", ["good", "broken"])
        hp.Float("x", 0.0, 1.0)
        chief, chosen = tpe(hp, f"seed={seed}"), []
        for number in range(40):
            suggestion = suggested(chief)
            chosen.append(suggestion.values["optimizer"])
            end(chief, suggestion.trial, None if chosen[-1] == "broken" else random.Random(number).random())
        broken += chosen[20:].count("broken")
    assert broken < 18  # of 60, and random search would choose 30


def test_running_trials_repel_other_suggestions() -> None:
    """Eight workers ask at once, so only the running trials differ between their suggestions."""
    hp = keras_tuner.HyperParameters()
    hp.Int("a", 0, 30)
    hp.Int("b", 0, 30)
    chief = tpe(hp)
    for number in range(20):
        suggestion = suggested(chief)
        end(chief, suggestion.trial, 1.0 if number == 7 else 0.1)
    at_once = [tuple(suggested(chief).values.values()) for _ in range(8)]
    assert len(set(at_once)) == 8


def after(state: TrialState, rungs: dict[int, float]) -> dict[str, Any]:
    """Return the suggestion after 20 trials, of which the last 15 are in this state."""
    hp = keras_tuner.HyperParameters()
    hp.Float("x", 0.0, 1.0)
    chief = tpe(hp)
    for number in range(20):
        suggestion = suggested(chief)
        if number < 5:
            chief.observe(Observation(suggestion.trial, TrialState.COMPLETED, {0: 0.1}, number / 10, 9))
        else:
            chief.observe(Observation(suggestion.trial, state, rungs))
    return suggested(chief).values


def samples_of(hp: keras_tuner.HyperParameters, trials: int, monkeypatch: pytest.MonkeyPatch) -> tuple[int, int]:
    """Return how many samples Optuna drew for the trials after the initial ones, and how many of the trials differ."""
    from optuna.samplers import TPESampler

    drawn: list[None] = []
    sample = TPESampler.sample_relative

    def counted(self: Any, *arguments: Any) -> Any:
        drawn.append(None)
        return sample(self, *arguments)

    monkeypatch.setattr(TPESampler, "sample_relative", counted)
    chief, configurations = tpe(hp), set()
    for _ in range(trials):
        suggestion = suggested(chief)
        configurations.add(tuple(suggestion.values.values()))
        end(chief, suggestion.trial, sum(map(float, suggestion.values.values())))
    return len(drawn), len(configurations)


def test_the_best_untried_candidate_is_suggested_without_further_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without that, two samples in three would be duplicates here."""
    hp = keras_tuner.HyperParameters()
    hp.Int("a", 0, 7)
    hp.Int("b", 0, 7)
    samples, configurations = samples_of(hp, 35, monkeypatch)
    assert configurations == 35
    assert samples <= 33  # 30 trials are suggested by the model


def test_a_trial_that_was_stopped_or_paused_is_not_taken_for_a_running_one() -> None:
    assert after(TrialState.STOPPED, {0: 0.9}) != after(TrialState.RUNNING, {0: 0.9})


def test_a_suggestion_with_a_thousand_trials_takes_less_than_a_second() -> None:
    draw = tpe(space())
    trials = [
        LearnedTrial(
            study="s",
            trial=TrialId(f"{number:05d}"),
            hyperparameters=draw._untried.draw(),
            completed=True,
            epochs=1,
            score=random.Random(number).random(),
        )
        for number in range(1000)
    ]
    chief = tpe(space())
    chief.restore(StudyState(learned=tuple(trials)))
    for _ in range(2):  # Optuna's trials are made for the first suggestion, and kept
        began = time.process_time()
        suggested(chief)
        assert time.process_time() - began < 1


def test_nothing_of_optuna_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    chief = tpe(space())
    with warnings.catch_warnings():
        warnings.simplefilter("error", FutureWarning)
        for number in range(8):
            end(chief, suggested(chief).trial, float(number))
    assert capfd.readouterr() == ("", "")


def test_a_space_of_a_single_configuration_is_exhausted_after_it() -> None:
    hp = keras_tuner.HyperParameters()
    hp.Fixed("a", 1)
    hp.Choice("b", [2])
    chief = tpe(hp, "search.initial_points=1")
    end(chief, suggested(chief).trial, 0.5)
    assert chief.suggest() is NoSuggestion.EXHAUSTED


def test_optuna_is_not_imported_before_it_is_needed() -> None:
    code = "import sys, tuner.search.suggester; assert not {'optuna', 'keras'} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", code], check=True)
