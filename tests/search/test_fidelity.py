"""A model of the scores is fitted to a single fidelity, after the initial points, and knows what failed."""

from typing import Any

import keras_tuner
import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor

from tuner.config.loading import load
from tuner.config.settings import Algorithm, Search
from tuner.names import TrialId
from tuner.search.suggester import Observation, Suggester, Suggestion, make_suggester
from tuner.search.suggester.fidelity import TRAINED, fidelity, score_at
from tuner.search.suggester.initial_points import initial_points, without_model
from tuner.study.objective import Objective
from tuner.study.records import TrialState

pytestmark = pytest.mark.filterwarnings(f"ignore::{ConvergenceWarning.__module__}.ConvergenceWarning")


def at(rungs: dict[int, float], state: TrialState = TrialState.STOPPED, score: float | None = None) -> Observation:
    return Observation(TrialId("t"), state, rungs, score)


def test_the_fidelity_is_the_highest_that_enough_trials_have_reached() -> None:
    observations = [at({0: 0.1}), at({0: 0.2}), at({0: 0.3, 1: 0.4}), at({0: 0.3, 1: 0.5})]
    assert fidelity(observations, 2) == 1
    assert fidelity(observations, 3) == 0
    assert fidelity(observations, 9) == 0
    assert fidelity([*observations, at({}, TrialState.COMPLETED, 0.9), at({}, TrialState.COMPLETED, 0.8)], 2) == TRAINED
    assert fidelity([at({}), at({0: 0.4}, TrialState.FAILED)], 1) is None


def test_a_complete_trial_has_its_score_at_rungs_that_it_did_not_need_to_reach() -> None:
    complete = at({0: 0.2}, TrialState.COMPLETED, 0.7)
    assert [score_at(complete, level) for level in (0, 1, TRAINED)] == [0.2, 0.7, 0.7]
    stopped = at({0: 0.2}, TrialState.STOPPED, 0.2)
    assert [score_at(stopped, level) for level in (0, 1, TRAINED)] == [0.2, None, None]
    assert score_at(at({0: 0.2}, TrialState.FAILED), 0) is None


@pytest.mark.parametrize(
    ("max_trials", "dimensions", "points"),
    [(20, 8, 6), (9, 8, 4), (3, 8, 4), (30, 2, 10), (60, 8, 18), (600, 8, 18), (600, 2, 12)],
)
def test_the_initial_points_are_a_third_of_the_trials_within_bounds(
    max_trials: int, dimensions: int, points: int
) -> None:
    assert initial_points(Search(max_trials=max_trials), dimensions) == points


def test_the_initial_points_can_be_set() -> None:
    assert initial_points(Search(max_trials=20, initial_points=2), 8) == 2


@pytest.mark.parametrize("algorithm", [Algorithm.BAYESIAN, Algorithm.TPE])
def test_a_warning_says_that_the_model_suggests_no_trial(algorithm: Algorithm) -> None:
    warning = without_model(Search(algorithm=algorithm, max_trials=4), 8)
    assert "search.max_trials is 4 and the first 4 trials are random" in warning
    assert f"search.algorithm {algorithm} suggests none with its model" in warning
    assert without_model(Search(algorithm=algorithm, max_trials=5), 8) == ""
    assert without_model(Search(algorithm=algorithm, max_trials=4), 8, learned=1) == ""
    assert without_model(Search(algorithm=Algorithm.RANDOM, max_trials=4), 8) == ""


def space() -> keras_tuner.HyperParameters:
    hp = keras_tuner.HyperParameters()
    hp.Float("x", 0.0, 1.0)
    hp.Float("y", 0.0, 1.0)
    return hp


def chief_of(algorithm: Algorithm, *settings: str) -> Suggester:
    study = load(settings=[f"search.algorithm={algorithm}", "search.max_trials=30", *settings])
    return make_suggester(study, space(), Objective("val_accuracy"))


def suggested(chief: Suggester) -> Suggestion:
    suggestion = chief.suggest()
    assert isinstance(suggestion, Suggestion)
    return suggestion


class Fits:
    """Records what Gaussian processes are fitted to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.scores: list[list[float]] = []
        fit = GaussianProcessRegressor.fit

        def recorded(model: Any, x: Any, y: Any) -> Any:
            self.scores.append([round(float(score), 6) for score in y])
            return fit(model, x, y)

        monkeypatch.setattr(GaussianProcessRegressor, "fit", recorded)


def test_the_gaussian_process_is_used_after_the_initial_points(monkeypatch: pytest.MonkeyPatch) -> None:
    for points in (2, 5):
        fits, chief = Fits(monkeypatch), chief_of(Algorithm.BAYESIAN, f"search.initial_points={points}")
        for number in range(points):
            trial = suggested(chief).trial
            assert fits.scores == []
            chief.ended(trial, TrialState.COMPLETED, number / 10, 0)
        suggested(chief)
        assert len(fits.scores) == 1


def test_the_gaussian_process_compares_trials_at_one_rung(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the scores after one and three epochs, only those after one epoch are numerous enough for two dimensions."""
    fits, chief = Fits(monkeypatch), chief_of(Algorithm.BAYESIAN, "search.initial_points=4")
    for number in range(4):
        trial, rungs = suggested(chief).trial, {0: number / 10}
        if number < 2:
            rungs[1] = 0.9
            chief.observe(Observation(trial, TrialState.COMPLETED, rungs, 0.95, 10))
        else:
            chief.observe(Observation(trial, TrialState.STOPPED, rungs, number / 10, 1))
    suggested(chief)
    assert fits.scores == [[-0.0, -0.1, -0.2, -0.3]]


def test_failed_trials_count_as_the_worst_and_running_ones_are_estimated(monkeypatch: pytest.MonkeyPatch) -> None:
    fits, chief = Fits(monkeypatch), chief_of(Algorithm.BAYESIAN, "search.initial_points=3")
    running = suggested(chief).trial
    for score in (0.3, None, 0.1, 0.2):
        trial = suggested(chief).trial
        chief.ended(trial, TrialState.FAILED if score is None else TrialState.COMPLETED, score, 0)
    suggested(chief)
    assert running == "00000"
    assert fits.scores[0] == [-0.3, -0.1, -0.2, -0.1]
    assert fits.scores[1][:4] == fits.scores[0]
    assert len(fits.scores[1]) == 5
    assert np.isfinite(fits.scores[1]).all()


@pytest.mark.parametrize("algorithm", [Algorithm.BAYESIAN, Algorithm.TPE])
def test_the_rung_of_a_running_trial_counts_as_a_score(algorithm: Algorithm) -> None:
    """So a search with promising trials that train for long does not stay random."""

    def fourth(state: TrialState) -> dict[str, Any]:
        chief = chief_of(algorithm, "search.initial_points=3")
        for number in range(3):
            chief.observe(Observation(suggested(chief).trial, state, {0: number / 10}))
        return suggested(chief).values

    random = chief_of(Algorithm.RANDOM)
    for _ in range(3):
        suggested(random)
    assert fourth(TrialState.RUNNING) != suggested(random).values
